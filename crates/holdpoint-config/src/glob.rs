//! Names of tools with `*` and `?` in them.

/// A pattern over tool names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Glob(Box<str>);

/// More is more specific: letters first, then `?`, then fewer `*`.
pub(crate) type Specificity = (usize, usize, std::cmp::Reverse<usize>);

/// Whether a name is a pattern.
pub(crate) fn is_glob(name: &str) -> bool {
    name.contains(['*', '?'])
}

impl Glob {
    /// # Errors
    /// What the pattern has that globs do not know here.
    pub(crate) fn parse(pattern: &str) -> Result<Self, &'static str> {
        if pattern.contains(['[', ']', '{', '}', '\\', '!']) {
            return Err("a glob knows only `*` and `?`");
        }
        if pattern.contains("**") {
            return Err("`**` is no more than `*` here");
        }
        Ok(Self(pattern.into()))
    }

    pub(crate) fn specificity(&self) -> Specificity {
        let count = |wanted: char| self.0.chars().filter(|char| *char == wanted).count();
        let (stars, marks) = (count('*'), count('?'));
        (self.0.chars().count() - stars - marks, marks, std::cmp::Reverse(stars))
    }

    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    pub(crate) fn folded(&self) -> Self {
        Self(fold(&self.0).into())
    }

    pub(crate) fn matches(&self, name: &str) -> bool {
        let (pattern, name) = (self.0.as_bytes(), name.as_bytes());
        let (mut i, mut j) = (0, 0);
        let mut star = None;
        loop {
            match (pattern.get(i), name.get(j)) {
                (None, None) => return true,
                (Some(b'*'), _) => {
                    i += 1;
                    star = Some((i, j));
                }
                (Some(b'?'), Some(lead)) => {
                    i += 1;
                    j += char_length(*lead);
                }
                (Some(wanted), Some(byte)) if wanted == byte => {
                    i += 1;
                    j += 1;
                }
                (Some(_) | None, _) => match star {
                    Some((after, at)) if at < name.len() => {
                        let next = at + name.get(at).map_or(1, |lead| char_length(*lead));
                        star = Some((after, next));
                        (i, j) = (after, next);
                    }
                    Some(_) | None => return false,
                },
            }
        }
    }

    /// Whether some name matches both.
    pub(crate) fn overlaps(&self, other: &Self) -> bool {
        let (a, b): (Vec<char>, Vec<char>) = (self.0.chars().collect(), other.0.chars().collect());
        // `reach[j]`: the patterns read so far (`a[..i]`, `b[..j]`) have a common name.
        let mut reach = vec![false; b.len() + 1];
        for i in 0..=a.len() {
            let above = reach.clone();
            for j in 0..=b.len() {
                let (x, y) =
                    (i.checked_sub(1).and_then(|i| a.get(i)), j.checked_sub(1).and_then(|j| b.get(j)));
                let at = |row: &[bool], j: usize| row.get(j).copied().unwrap_or(false);
                let up = i > 0 && at(&above, j);
                let left = j > 0 && at(&reach, j - 1);
                let both = i > 0 && j > 0 && at(&above, j - 1);
                let joint = match (x, y) {
                    (None, None) => true,
                    (x, y) if x == Some(&'*') || y == Some(&'*') => up || left || both,
                    (Some(x), Some(y)) => both && (x == y || *x == '?' || *y == '?'),
                    (Some(_), None) | (None, Some(_)) => false,
                };
                if let Some(cell) = reach.get_mut(j) {
                    *cell = joint;
                }
            }
        }
        reach.last().copied().unwrap_or(false)
    }
}

const fn char_length(lead: u8) -> usize {
    match lead {
        0xc0..=0xdf => 2,
        0xe0..=0xef => 3,
        0xf0..=0xff => 4,
        _ => 1,
    }
}

/// The form in which names that differ only in case are the same.
pub(crate) fn fold(name: &str) -> String {
    if name.is_ascii() { name.to_ascii_lowercase() } else { name.to_uppercase().to_lowercase() }
}

/// Whether folding would change nothing.
pub(crate) fn is_folded(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> Glob {
        Glob::parse(pattern).unwrap()
    }

    #[test]
    fn a_star_is_any_text_and_a_mark_one_character() {
        for (pattern, name, expected) in [
            ("*", "", true),
            ("*", "read", true),
            ("read_*", "read_", true),
            ("read_*", "read_file", true),
            ("read_*", "Read_file", false),
            ("*_file", "read_text_file", true),
            ("*_file", "read_files", false),
            ("r?ad", "read", true),
            ("r?ad", "rad", false),
            ("?", "é", true),
            ("*?", "é", true),
            ("*??", "é", false),
            ("a*b*c", "a-b-b-c", true),
            ("a*b*c", "a-c-b", false),
        ] {
            assert_eq!(glob(pattern).matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn patterns_overlap_when_some_name_matches_both() {
        for (a, b, expected) in [
            ("get_*", "*_user", true),
            ("get_*", "set_*", false),
            ("*", "?", true),
            ("a*", "*b", true),
            ("a?c", "ab?", true),
            ("a?c", "ab", false),
            ("*x*", "*y*", true),
            ("ab*", "a?", true),
        ] {
            assert_eq!(glob(a).overlaps(&glob(b)), expected, "{a} {b}");
            assert_eq!(glob(b).overlaps(&glob(a)), expected, "{b} {a}");
        }
    }

    #[test]
    fn letters_count_most() {
        assert!(glob("get_*").specificity() > glob("*").specificity());
        assert!(glob("get_?").specificity() > glob("get_*").specificity());
        assert!(glob("get_*").specificity() > glob("*et_*").specificity());
    }
}
