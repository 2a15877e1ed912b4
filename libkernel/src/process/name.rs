//! The short name of a thread (`comm`), as `ps` and `top` show it.
#![forbid(unsafe_code)]

/// Longest name, with its closing zero (`TASK_COMM_LEN`).
pub const NAME_SIZE: usize = 16;

/// A name of up to fifteen bytes, filled up with zeros.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Name([u8; NAME_SIZE]);

impl Name {
    /// The first fifteen bytes of `bytes`, up to a zero.
    #[must_use]
    pub fn new(bytes: &[u8]) -> Name {
        let mut name = [0; NAME_SIZE];
        let text = bytes.iter().take_while(|byte| **byte != 0).take(NAME_SIZE - 1);
        for (slot, byte) in name.iter_mut().zip(text) {
            *slot = *byte;
        }
        Name(name)
    }

    /// The name that exec gives: the last component of the program's path.
    #[must_use]
    pub fn from_path(path: &[u8]) -> Name {
        Name::new(path.rsplit(|byte| *byte == b'/').next().unwrap_or(path))
    }

    /// The name without the zeros.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or(&self.0)
    }

    /// The name with its zeros, as `PR_GET_NAME` returns it.
    #[must_use]
    pub fn as_array(&self) -> &[u8; NAME_SIZE] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_cut_to_fifteen_bytes() {
        assert_eq!(Name::from_path(b"/usr/bin/a-very-long-program-name").as_bytes(), b"a-very-long-pro");
        assert_eq!(Name::new(b"sh\0rest").as_bytes(), b"sh");
        assert_eq!(Name::new(b"").as_bytes(), b"");
    }
}
