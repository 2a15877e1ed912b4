//! Scripts: the `#!` line (execve(2), "Interpreter scripts").
#![forbid(unsafe_code)]

use crate::{Errno, Result};

/// How many bytes at the head of a file are looked at (`BINPRM_BUF_SIZE`).
pub const HEAD_SIZE: usize = 256;
/// How many scripts may name a script as their interpreter, one after another.
pub const DEPTH_MAX: usize = 5;

/// What a `#!` line says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Script<'a> {
    /// Path of the interpreter.
    pub interpreter: &'a [u8],
    /// The rest of the line as one argument.
    pub argument: Option<&'a [u8]>,
}

/// Reads the `#!` line at the head of a file; `None` if there is none.
///
/// # Errors
/// `ENOEXEC` when the line names no interpreter, or the interpreter's path does not fit into the head.
pub fn parse(head: &[u8]) -> Result<Option<Script<'_>>> {
    let head = head.get(..HEAD_SIZE).unwrap_or(head);
    let Some(rest) = head.strip_prefix(b"#!") else { return Ok(None) };
    let cut = head.len() == HEAD_SIZE && !rest.contains(&b'\n');
    let line = rest.split(|byte| *byte == b'\n' || *byte == 0).next().unwrap_or(rest);
    let line = trim(line);
    let blank = |byte: &u8| matches!(byte, b' ' | b'\t');
    let interpreter = line.split(blank).next().filter(|path| !path.is_empty()).ok_or(Errno::ENOEXEC)?;
    let rest = line.get(interpreter.len()..).unwrap_or_default();
    if cut && !rest.iter().any(blank) {
        return Err(Errno::ENOEXEC);
    }
    let argument = Some(trim(rest)).filter(|argument| !argument.is_empty());
    Ok(Some(Script { interpreter, argument }))
}

fn trim(bytes: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let Some(first) = bytes.iter().position(is_text) else { return &[] };
    let last = bytes.iter().rposition(is_text).unwrap_or(first);
    bytes.get(first..=last).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(head: &[u8]) -> (&[u8], Option<&[u8]>) {
        let script = parse(head).unwrap().unwrap();
        (script.interpreter, script.argument)
    }

    #[test]
    fn the_line_is_split_once() {
        assert_eq!(script(b"#!/bin/sh\necho"), (&b"/bin/sh"[..], None));
        assert_eq!(script(b"#! \t/usr/bin/env  python3 -u \nx"), (&b"/usr/bin/env"[..], Some(&b"python3 -u"[..])));
        assert_eq!(script(b"#!/bin/sh"), (&b"/bin/sh"[..], None));
        assert_eq!(parse(b"\x7fELF"), Ok(None));
    }

    #[test]
    fn a_line_without_interpreter_is_refused() {
        assert_eq!(parse(b"#!\n"), Err(Errno::ENOEXEC));
        assert_eq!(parse(b"#!   \n"), Err(Errno::ENOEXEC));
    }

    #[test]
    fn a_path_that_is_cut_is_refused_but_a_cut_argument_is_not() {
        let mut head = Vec::from(*b"#!/");
        head.resize(HEAD_SIZE, b'x');
        assert_eq!(parse(&head), Err(Errno::ENOEXEC));
        head[20] = b' ';
        assert_eq!(script(&head).0.len(), 18);
    }
}
