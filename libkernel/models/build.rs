//! Tells the sources shared with `libkernel` that loom's atomics stand behind them.

fn main() {
    println!("cargo::rustc-cfg=loom");
}
