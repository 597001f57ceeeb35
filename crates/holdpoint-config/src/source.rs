//! The files that were read together, and places in them.

use crate::{
    mistake::{Finding, Place, printable},
    watch::{FilesRead, Stamp},
};
use std::{
    cell::RefCell,
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::LazyLock,
};

/// Larger files are not configuration.
pub(crate) const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// One of the [`Sources`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FileId(pub(crate) u32);

/// A range of bytes in one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Span {
    pub(crate) file: FileId,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

impl Span {
    pub(crate) fn contains(self, other: Self) -> bool {
        self.file == other.file && self.start <= other.start && other.end <= self.end
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Debug)]
struct SourceFile {
    path: PathBuf,
    text: String,
    /// Never shown, not even in a mistake about the same line.
    secrets: Vec<Range<usize>>,
}

/// Every file of one load, in the order read.
#[derive(Debug, Default)]
pub(crate) struct Sources {
    files: Vec<SourceFile>,
    /// Beside them those that have no places to show.
    looked_at: RefCell<FilesRead>,
}

impl Sources {
    pub(crate) fn add(&mut self, path: PathBuf, text: String) -> FileId {
        let secrets = looks_secret(&text);
        self.files.push(SourceFile { path, text, secrets });
        FileId(u32::try_from(self.files.len().saturating_sub(1)).unwrap_or(u32::MAX))
    }

    pub(crate) fn text(&self, file: FileId) -> &str {
        self.get(file).map_or("", |source| &source.text)
    }

    pub(crate) fn path(&self, file: FileId) -> &Path {
        self.get(file).map_or_else(|| Path::new(""), |source| &source.path)
    }

    pub(crate) fn paths(&self) -> Vec<PathBuf> {
        self.files.iter().map(|source| source.path.clone()).collect()
    }

    /// The source text of `span`, quotes and all.
    pub(crate) fn slice(&self, span: Span) -> &str {
        self.text(span.file).get(span.range()).unwrap_or_default()
    }

    /// Keeps what is in `span` out of everything that is shown.
    pub(crate) fn hide(&mut self, span: Span) {
        if let Some(source) = self.files.get_mut(span.file.0 as usize) {
            source.secrets.push(span.range());
        }
    }

    /// The part of `span` that `value[range]` was read from, or `span` itself where that cannot be told (escapes,
    /// folded lines).
    pub(crate) fn within(&self, span: Span, value: &str, range: Range<usize>) -> Span {
        let raw = self.slice(span);
        let Some(fragment) = value.get(range.clone()).filter(|fragment| !fragment.is_empty()) else {
            return span;
        };
        let at = match raw.find(value) {
            Some(at) => Some(at + range.start),
            None if raw.matches(fragment).count() == 1 => raw.find(fragment),
            None => None,
        };
        let Some(at) = at else { return span };
        let start = span.start + u32::try_from(at).unwrap_or(0);
        Span { file: span.file, start, end: start + u32::try_from(fragment.len()).unwrap_or(0) }
    }

    /// Line (from 1) of `span`.
    pub(crate) fn line(&self, span: Span) -> usize {
        let before = self.text(span.file).get(..span.start as usize).unwrap_or_default();
        before.matches('\n').count() + 1
    }

    /// Where `span` is, for people. An underline ends with its line.
    pub(crate) fn place(&self, span: Span) -> Place {
        let text = self.text(span.file);
        let start = (span.start as usize).min(text.len());
        let line_start = text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line_end =
            text.get(start..).and_then(|rest| rest.find('\n')).map_or(text.len(), |length| start + length);
        let end = (span.end as usize).clamp(start, line_end);
        let shown = |range: Range<usize>| printable(&self.redacted(span.file, range)).into_owned();
        let (before, marked) = (shown(line_start..start), shown(start..end));
        let after = shown(end..line_end);
        Place {
            line: self.line(span),
            column: text.get(line_start..start).map_or(0, |text| text.chars().count()) + 1,
            text: format!("{before}{marked}{after}").trim_end().to_owned(),
            before: before.chars().count(),
            width: marked.trim_end().chars().count().max(1),
        }
    }

    /// Reads a text file; a look that is remembered.
    pub(crate) fn read(&self, path: &Path) -> Result<String, Finding> {
        let (text, stamp) = read(path)?;
        self.note(|looked| looked.note_file(path, stamp, text.as_bytes()));
        Ok(text)
    }

    pub(crate) fn note(&self, note: impl FnOnce(&mut FilesRead)) {
        if let Ok(mut looked_at) = self.looked_at.try_borrow_mut() {
            note(&mut looked_at);
        }
    }

    pub(crate) fn looked_at(&self) -> FilesRead {
        self.looked_at.borrow().clone()
    }

    fn get(&self, file: FileId) -> Option<&SourceFile> {
        self.files.get(file.0 as usize)
    }

    /// Text with every secret in it replaced, character by character, so that columns stay.
    fn redacted(&self, file: FileId, range: Range<usize>) -> String {
        let Some(source) = self.get(file) else { return String::new() };
        let hidden = |at: usize| source.secrets.iter().any(|secret| secret.contains(&at));
        let text = source.text.get(range.clone()).unwrap_or_default();
        text.char_indices().map(|(at, char)| if hidden(range.start + at) { '•' } else { char }).collect()
    }
}

/// Keys and bearer tokens by their looks, also in files that do not parse.
fn looks_secret(text: &str) -> Vec<Range<usize>> {
    static PATTERN: LazyLock<Option<regex::Regex>> = LazyLock::new(|| {
        regex::Regex::new(r#"\bsgt?_[A-Za-z0-9_-]{6,}|(?i:\b(?:bearer|basic)) +[^\s"'$]{6,}|//[^\s/"'@$]+@"#)
            .ok()
    });
    let found = PATTERN.iter().flat_map(|pattern| pattern.find_iter(text));
    found.map(|found| found.range()).collect()
}

/// Reads a text file whose writers have to be trusted: what is in it decides what runs.
fn read(path: &Path) -> Result<(String, Stamp), Finding> {
    let finding = |message: &str, hint: &str| Finding::file(path, message).hint(hint);
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if metadata.is_dir() {
        return Err(finding("this is a folder, not a file", "name the file in it"));
    }
    if metadata.len() > FILE_BYTES_MAX {
        return Err(finding(
            "this file is larger than 4 MiB",
            "configuration is small; is this the right file?",
        ));
    }
    if let Some(others) = who_else_writes(&metadata) {
        let message = format!("{} may write to this file, and it decides what runs", others.who());
        return Err(finding(&message, &others.way_out(path)));
    }
    let bytes = fs::read(path).map_err(|error| unreadable(path, &error))?;
    let text = String::from_utf8(bytes)
        .map_err(|_| finding("this file is not UTF-8 text", "save it as UTF-8 and try again"))?;
    Ok((text, Stamp::of(&metadata)))
}

/// A folder that others may write to lets them replace the files in it.
pub(crate) fn check_folder(path: &Path) -> Result<(), Finding> {
    let metadata = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    if !metadata.is_dir() {
        return Err(Finding::file(path, "this is a file, not a folder").hint("name the folder it is in"));
    }
    if let Some(others) = who_else_writes(&metadata)
        && !sticky(&metadata)
    {
        let message = format!("{} may replace files in this folder, and they decide what runs", others.who());
        return Err(Finding::file(path, &message).hint(&others.way_out(path)));
    }
    Ok(())
}

fn unreadable(path: &Path, error: &std::io::Error) -> Finding {
    let (message, hint) = match error.kind() {
        std::io::ErrorKind::NotFound => ("there is no such file", "check the path, or create the file"),
        std::io::ErrorKind::PermissionDenied => {
            ("this file may not be read", "give the user that runs holdpoint the permission to read it")
        }
        _ => return Finding::file(path, &format!("this cannot be read: {error}")).hint("check the path"),
    };
    Finding::file(path, message).hint(hint)
}

/// Who may write beside the owner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Others {
    Group,
    Anybody,
}

impl Others {
    const fn who(self) -> &'static str {
        match self {
            Self::Group => "everybody in its group",
            Self::Anybody => "anybody on this machine",
        }
    }

    fn way_out(self, path: &Path) -> String {
        let mode = match self {
            Self::Group => "g-w",
            Self::Anybody => "o-w",
        };
        format!("take the permission away: `chmod {mode} {}`", path.display())
    }

    /// A group with the number of the user is that user's own on systems whose files are writable to the group by default.
    #[cfg(unix)]
    const fn of(mode: u32, user: u32, group: u32) -> Option<Self> {
        match (mode & 0o002 != 0, mode & 0o020 != 0 && user != group) {
            (true, _) => Some(Self::Anybody),
            (false, true) => Some(Self::Group),
            (false, false) => None,
        }
    }
}

#[cfg(unix)]
fn who_else_writes(metadata: &fs::Metadata) -> Option<Others> {
    use std::os::unix::fs::MetadataExt as _;
    Others::of(metadata.mode(), metadata.uid(), metadata.gid())
}

#[cfg(unix)]
fn sticky(metadata: &fs::Metadata) -> bool {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o1000 != 0
}

#[cfg(not(unix))]
fn who_else_writes(_: &fs::Metadata) -> Option<Others> {
    None
}

#[cfg(not(unix))]
fn sticky(_: &fs::Metadata) -> bool {
    false
}

#[cfg(all(test, unix))]
mod tests {
    use super::Others;

    #[test]
    fn who_may_write() {
        for (mode, user, group, expected) in [
            (0o644, 1000, 50, None),
            (0o600, 1000, 1000, None),
            // The default of systems where each user is alone in a group of the same number.
            (0o664, 1000, 1000, None),
            (0o660, 0, 0, None),
            (0o664, 1000, 50, Some(Others::Group)),
            (0o620, 0, 1000, Some(Others::Group)),
            (0o666, 1000, 1000, Some(Others::Anybody)),
            (0o602, 1000, 50, Some(Others::Anybody)),
        ] {
            assert_eq!(Others::of(mode, user, group), expected, "{mode:o} {user}:{group}");
        }
    }
}
