//! The part of Lichen that has no hardware in it: scheduling, messages, tasks, memory policy, files,
//! processes, signals and terminals. It compiles and is tested on the host.
#![cfg_attr(not(test), no_std)]
