use super::{
    DEPTH_MAX, NODES_MAX,
    tree::{Entry, Node, NodeKind},
};
use crate::{
    mistake::{Finding, Findings},
    source::{FileId, Span},
};
use serde_saphyr::granit_parser::{self, Event, Parser, ScalarStyle, ScanError, Tag};
use std::{
    borrow::Cow,
    collections::{HashMap, hash_map},
    rc::Rc,
};

/// Reads `text`. `None` if there is nothing to go on with; the reason is in `findings`.
pub(crate) fn parse(file: FileId, text: &str, findings: &mut Findings) -> Option<Rc<Node>> {
    let mut builder = Builder { file, text, findings, open: Vec::new(), anchors: HashMap::new(), root: None };
    let options = granit_parser::options! { emit_comments: false };
    for event in Parser::new_from_str_with_options(text, options) {
        let step = match event {
            Ok((event, span)) => builder.event(event, &span),
            Err(error) => Err(builder.syntax(&error)),
        };
        if let Err(finding) = step {
            builder.findings.push(finding);
            return None;
        }
    }
    let root = builder.root.take();
    if root.as_ref().is_none_or(|node| matches!(node.kind, NodeKind::Null)) {
        let start = Span { file, start: 0, end: 0 };
        findings.push(
            Finding::at(start, "this file is empty").hint("write the configuration, or remove the file"),
        );
        return None;
    }
    root
}

struct Builder<'a> {
    file: FileId,
    text: &'a str,
    findings: &'a mut Findings,
    open: Vec<Open>,
    anchors: HashMap<usize, Rc<Node>>,
    root: Option<Rc<Node>>,
}

/// A list or mapping whose end has not come yet.
struct Open {
    anchor: usize,
    start: u32,
    weight: u32,
    parts: Parts,
}

enum Parts {
    List(Vec<Rc<Node>>),
    Map { entries: Vec<Entry>, seen: HashMap<String, Span>, key: Option<(String, Span)> },
}

impl Builder<'_> {
    fn event(&mut self, event: Event<'_>, span: &granit_parser::Span) -> Result<(), Finding> {
        let at = self.span(span);
        match event {
            Event::DocumentStart(..) if self.root.is_some() => {
                Err(Finding::at(at, "a second document starts here")
                    .hint("one file holds one document: remove `---`"))
            }
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_tag(tag.as_ref(), span)?;
                let kind = scalar(text, style);
                self.node(Node { span: at, kind, weight: 1 }, anchor)
            }
            Event::SequenceStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_ref(), span)?;
                self.start(at, anchor, Parts::List(Vec::new()))
            }
            Event::MappingStart(_, anchor, tag) => {
                self.refuse_tag(tag.as_ref(), span)?;
                self.start(at, anchor, Parts::Map { entries: Vec::new(), seen: HashMap::new(), key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(at),
            Event::Alias(id) => {
                let Some(node) = self.anchors.get(&id).cloned() else {
                    return Err(
                        Finding::at(at, "an alias inside of what it stands for").hint("write the value out")
                    );
                };
                self.value(node, at)
            }
            // Stream and document marks; comments are off.
            _ => Ok(()),
        }
    }

    fn start(&mut self, at: Span, anchor: usize, parts: Parts) -> Result<(), Finding> {
        if self.open.len() >= DEPTH_MAX {
            return Err(
                Finding::at(at, format!("this nests deeper than {DEPTH_MAX} levels")).hint("flatten it")
            );
        }
        self.open.push(Open { anchor, start: at.start, weight: 1, parts });
        Ok(())
    }

    fn end(&mut self, at: Span) -> Result<(), Finding> {
        let Some(open) = self.open.pop() else { return Ok(()) };
        let (kind, last) = match open.parts {
            Parts::List(items) => {
                let last = items.last().map(|item| item.span.end);
                (NodeKind::List(items), last)
            }
            Parts::Map { entries, .. } => {
                let last = entries.last().map(|entry| entry.value.span.end.max(entry.key_span.end));
                (NodeKind::Map(entries), last)
            }
        };
        // The end of a block is found only at the next token, lines further down.
        let closed =
            self.text.get(at.start as usize..at.end as usize).is_some_and(|text| !text.trim().is_empty());
        let end = if closed { at.end } else { last.unwrap_or(at.end) };
        let span = Span { file: self.file, start: open.start, end: end.max(open.start) };
        self.node(Node { span, kind, weight: open.weight }, open.anchor)
    }

    fn node(&mut self, node: Node, anchor: usize) -> Result<(), Finding> {
        let node = Rc::new(node);
        if anchor != 0 {
            self.anchors.insert(anchor, Rc::clone(&node));
        }
        let span = node.span;
        self.value(node, span)
    }

    /// Puts a finished node where it belongs.
    fn value(&mut self, node: Rc<Node>, at: Span) -> Result<(), Finding> {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return Ok(());
        };
        open.weight = open.weight.saturating_add(node.weight);
        if open.weight > NODES_MAX {
            return Err(Finding::at(at, format!("this stands for more than {NODES_MAX} values"))
                .hint("write less, or use fewer aliases"));
        }
        match &mut open.parts {
            Parts::List(items) => items.push(node),
            Parts::Map { entries, seen, key } => match key.take() {
                None => *key = Some((key_text(&node, at)?, at)),
                Some((key, key_span)) => match seen.entry(key) {
                    hash_map::Entry::Vacant(slot) => {
                        entries.push(Entry { key: slot.key().clone(), key_span, value: node });
                        slot.insert(key_span);
                    }
                    hash_map::Entry::Occupied(first) => {
                        let message = format!("`{}` is given twice", first.key());
                        let finding = Finding::at(key_span, message).hint("keep one of them");
                        self.findings.push(finding.related(*first.get(), "first given here"));
                    }
                },
            },
        }
        Ok(())
    }

    fn refuse_tag(&self, tag: Option<&Cow<'_, Tag>>, span: &granit_parser::Span) -> Result<(), Finding> {
        if tag.is_none() {
            return Ok(());
        }
        let at = span.tag_span().map_or_else(|| self.span(span), |tag| self.span(&tag));
        Err(Finding::at(at, "tags mean nothing here").hint("remove the tag; put text in quotes"))
    }

    fn syntax(&self, error: &ScanError) -> Finding {
        let start =
            error.marker().byte_offset().unwrap_or_else(|| byte_of(self.text, error.marker().index()));
        let start = start.min(self.text.len());
        let length = self.text.get(start..).and_then(|rest| rest.chars().next()).map_or(0, char::len_utf8);
        let span = Span { file: self.file, start: narrow(start), end: narrow(start + length) };
        let line_start = self.text.get(..start).and_then(|before| before.rfind('\n')).map_or(0, |at| at + 1);
        let line = self.text.get(line_start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let info = error.info();
        let reason = if info.is_empty() { "not in the form of YAML or JSON".to_owned() } else { info };
        let hint = if line.contains("{{") || line.contains("${") {
            "text with `{`, `}`, `: ` or ` #` in it needs quotes around it"
        } else if line.contains('\t') {
            "indent with spaces, not with tabs"
        } else {
            "check indentation, quotes and colons on this line and the one above"
        };
        Finding::at(span, format!("this cannot be read: {reason}")).hint(hint)
    }

    fn span(&self, span: &granit_parser::Span) -> Span {
        let byte = |marker: &granit_parser::Marker| {
            narrow(marker.byte_offset().unwrap_or_else(|| byte_of(self.text, marker.index())))
        };
        let start = byte(&span.start);
        Span { file: self.file, start, end: byte(&span.end).max(start) }
    }
}

fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}

fn byte_of(text: &str, char_index: usize) -> usize {
    text.char_indices().nth(char_index).map_or(text.len(), |(at, _)| at)
}

fn key_text(node: &Node, at: Span) -> Result<String, Finding> {
    match &node.kind {
        NodeKind::Text(text) if text == "<<" => {
            Err(Finding::at(at, "merge keys are not supported").hint("write the fields out"))
        }
        NodeKind::Text(text) | NodeKind::Number(text) => Ok(text.clone()),
        NodeKind::Bool(value) => Ok(value.to_string()),
        NodeKind::Null => {
            Err(Finding::at(at, "a key is missing here").hint("write the name before the colon"))
        }
        NodeKind::List(_) | NodeKind::Map(_) => Err(Finding::at(at, "a key has to be plain text")
            .hint("text that starts with `{` or `[` needs quotes around it")),
    }
}

/// The JSON view of YAML: what is quoted is text; `yes`, `0x10` and `1_000` are text too.
fn scalar(text: Cow<'_, str>, style: ScalarStyle) -> NodeKind {
    if style != ScalarStyle::Plain {
        return NodeKind::Text(text.into_owned());
    }
    match &*text {
        "" | "~" | "null" | "Null" | "NULL" => NodeKind::Null,
        "true" | "True" | "TRUE" => NodeKind::Bool(true),
        "false" | "False" | "FALSE" => NodeKind::Bool(false),
        number if is_number(number) => NodeKind::Number(text.into_owned()),
        _ => NodeKind::Text(text.into_owned()),
    }
}

fn is_number(text: &str) -> bool {
    text.starts_with(|char: char| char == '-' || char.is_ascii_digit())
        && serde_json::from_str::<serde_json::Number>(text).is_ok()
}
