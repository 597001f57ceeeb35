use super::{Defaults, own_hold, tokens};
use crate::{
    fields::{Field, FieldSource, Presence},
    load::{Entries, Located, parse},
    mapping::{Mapping, Payload, Said},
    mistake::{Finding, Findings},
    pointer::Pointer,
    policy::{Entry, EntryAction, EntryPlace, generic},
    settings::WaitSettings,
    source::{Sources, Span},
    template::{Engine, Lines, Reads, Template, where_read},
    terms::Terms,
    written::{PayloadField, Risk, ToolEntry, WrittenAction},
};
use holdpoint_api::{Limits, declare::HumaneDuration};
use holdpoint_core::{EntryName, RiskLevel};
use jsonschema::{PatternOptions, Validator};
use std::path::Path;

/// A compiled pattern of a schema may be this large.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

/// One entry being read.
pub(super) struct Reading<'a> {
    pub(super) server: &'a str,
    pub(super) folder: &'a Path,
    pub(super) defaults: &'a Defaults,
    pub(super) engine: &'a mut Engine,
    pub(super) sources: &'a mut Sources,
    pub(super) findings: &'a mut Findings,
    /// What may not be meant.
    pub(super) notes: &'a mut Findings,
}

impl Reading<'_> {
    /// `None` if something in it is wrong; what, is in the findings.
    pub(super) fn entry(&mut self, written: &Located<ToolEntry>) -> Option<Entry> {
        let entry = &written.value;
        let before = self.findings.len();
        let mut schema = None;
        let action = match entry.action {
            WrittenAction::Pass => {
                self.refuse_mapping(entry, "pass");
                match &entry.effect {
                    None => EntryAction::Pass,
                    Some(effect) => EntryAction::PassOnce(Box::new(self.effect(effect, &[])?)),
                }
            }
            WrittenAction::Deny => {
                self.refuse_mapping(entry, "deny");
                if let Some(effect) = &entry.effect {
                    let message = "`effect` has no use here: with `action: deny`, nothing ever happens";
                    self.findings.push(
                        Finding::at(effect.span, message)
                            .hint("remove it, or write `action: gate` or `action: pass`"),
                    );
                }
                EntryAction::Deny
            }
            WrittenAction::Gate => EntryAction::Gate(Box::new(self.mapping(entry, &mut schema)?)),
        };
        let span = entry.name.span;
        let path = self.sources.path(span.file).to_owned();
        (self.findings.len() == before).then(|| Entry {
            name: EntryName::new(format!("{}/{}", self.server, entry.name.value)),
            pattern: entry.name.value.as_str().into(),
            action,
            terms: Terms::of(entry, schema),
            place: Some(EntryPlace { path, line: self.sources.line(span) }),
        })
    }

    /// Fields that say how to ask have no use where nobody is asked; whoever wrote them expects to be.
    fn refuse_mapping(&mut self, entry: &ToolEntry, action: &str) {
        let text = |field: &Option<Located<String>>| field.as_ref().map(|field| field.span);
        let fields = [
            ("workflow_name", text(&entry.workflow_name)),
            ("task_label", text(&entry.task_label)),
            ("subject", text(&entry.subject)),
            ("preview", text(&entry.preview)),
            ("risk_level", entry.risk_level.as_ref().map(|field| field.span)),
            ("summary", entry.summary.as_ref().map(|field| field.span)),
            ("payload", entry.payload.as_ref().map(|field| field.span)),
            ("payload_schema", text(&entry.payload_schema)),
            ("approval", entry.approval.as_ref().map(|field| field.span)),
            ("hold", entry.hold.as_ref().map(|field| field.span)),
        ];
        for (name, span) in fields {
            if let Some(span) = span {
                let message = format!("`{name}` has no use here: with `action: {action}`, nobody is asked");
                self.findings.push(Finding::at(span, message).hint("remove it, or write `action: gate`"));
            }
        }
    }

    /// `schema` becomes the text of the payload's schema.
    fn mapping(&mut self, entry: &ToolEntry, schema: &mut Option<String>) -> Option<Mapping> {
        let secrets = secrets(entry);
        let generic = generic(self.engine, &self.defaults.workflow_name)?;
        let workflow_name = match &entry.workflow_name {
            None => Some(generic.workflow_name),
            Some(name) => plain_line(name, "workflow_name", self.findings).map(Into::into),
        };
        let mut line = |field: &Option<Located<String>>, name: &str, otherwise: Template| match field {
            None => Some(otherwise),
            Some(source) => self.template(source, name, Lines::One, &secrets),
        };
        let task_label = line(&entry.task_label, "task_label", generic.task_label);
        let subject = line(&entry.subject, "subject", generic.subject);
        let preview = entry.preview.as_ref();
        let preview = preview.map(|source| self.template(source, "preview", Lines::Many, &secrets).ok_or(()));
        let summary = self.summary(entry, &secrets);
        let payload = match &entry.payload {
            None => Payload::Arguments,
            Some(fields) => self.payload(fields, &secrets),
        };
        let validator = entry.payload_schema.as_ref().map(|path| {
            let (validator, text) = self.schema(path).ok_or(())?;
            *schema = Some(text);
            Ok::<_, ()>(validator)
        });
        let effect = entry.effect.as_ref().map(|effect| self.effect(effect, &secrets).ok_or(()));
        let approval = entry.approval.as_ref().map(|approval| &approval.value);
        Some(Mapping {
            workflow_name: workflow_name?,
            task_label: task_label?,
            subject: subject?,
            preview: preview.transpose().ok()?,
            risk_level: entry.risk_level.as_ref().map(|risk| level(risk.value)),
            summary,
            payload,
            schema: validator.transpose().ok()?,
            tokens: approval.and_then(|approval| approval.token).map_or(self.defaults.tokens, tokens),
            waits: self.waits(entry),
            effect: effect.transpose().ok()?,
            said: Said {
                workflow_name: entry.workflow_name.is_some(),
                task_label: entry.task_label.is_some(),
                subject: entry.subject.is_some(),
            },
        })
    }

    /// How calls wait: what the entry says, its server, and the whole file, in this order.
    fn waits(&mut self, entry: &ToolEntry) -> WaitSettings {
        let hold = entry.hold.as_ref().map(|hold| &hold.value);
        let by_approval = entry.approval.as_ref().and_then(|approval| approval.value.patience);
        if let (Some(twice), Some(_)) = (hold.and_then(|hold| hold.patience.as_ref()), by_approval) {
            let message = "`patience` stands under `approval` as well";
            self.findings.push(Finding::at(twice.span, message).hint("keep one of the two"));
        }
        let patience = by_approval.map(HumaneDuration::get);
        let said = own_hold(hold).over(WaitSettings { patience, ..WaitSettings::default() });
        said.over(self.defaults.waits_of(self.server))
    }

    fn summary(&mut self, entry: &ToolEntry, secrets: &[Pointer]) -> Vec<Template> {
        let Some(written) = &entry.summary else { return Vec::new() };
        let most = Limits::DEFAULT.summary_bullets;
        if written.value.len() > most {
            let message = format!("a summary has at most {most} points");
            self.findings
                .push(Finding::at(written.span, message).hint("keep what a reviewer needs to decide"));
        }
        written
            .value
            .iter()
            .filter_map(|source| self.template(source, "summary", Lines::Many, secrets))
            .collect()
    }

    pub(super) fn template(
        &mut self,
        source: &Located<String>,
        field: &str,
        lines: Lines,
        secrets: &[Pointer],
    ) -> Option<Template> {
        if source.value.trim().is_empty() {
            let finding = Finding::at(source.span, format!("`{field}` is empty"));
            self.findings.push(finding.hint("write what the reviewer should see, or remove the key"));
            return None;
        }
        match self.engine.compile(&source.value, lines) {
            Ok((template, reads)) => {
                self.refuse_secret_reads(source, field, &reads, secrets);
                Some(template)
            }
            Err(mistake) => {
                self.place(source, mistake);
                None
            }
        }
    }

    /// A secret must not leave by the way of a text. (At run time it is masked there as well.)
    fn refuse_secret_reads(
        &mut self,
        source: &Located<String>,
        field: &str,
        reads: &Reads,
        secrets: &[Pointer],
    ) {
        for keys in reads.paths() {
            let shown =
                |secret: &&Pointer| secret.keys().starts_with(keys) || keys.starts_with(secret.keys());
            let Some(secret) = secrets.iter().find(shown) else { continue };
            let span = self.sources.within(source.span, &source.value, where_read(&source.value, keys));
            let message = format!("`{field}` would show the secret `{}`", secret.as_str());
            let hint = if keys.is_empty() {
                "name the argument to show, as in `args.NAME`, so that it can be told apart from the secret"
            } else {
                "show another argument, or remove `secret: true`"
            };
            self.findings.push(Finding::at(span, message).hint(hint));
        }
    }

    fn payload(&mut self, fields: &Located<Entries<Located<PayloadField>>>, secrets: &[Pointer]) -> Payload {
        if fields.value.0.is_empty() && !self.findings.any_within(fields.span) {
            let finding = Finding::at(fields.span, "this payload shows nothing of the call");
            self.findings.push(finding.hint("name its fields, or remove `payload` to show all arguments"));
        }
        let fields = fields.value.0.iter().filter_map(|(name, field)| {
            let source = self.field(field, "a payload field", secrets, secrets)?;
            Some(Field::new(&name.value, source))
        });
        Payload::Fields(fields.collect())
    }

    /// `masked`: what leaves only as a fingerprint. `secrets`: what no text may show.
    pub(super) fn field(
        &mut self,
        written: &Located<PayloadField>,
        noun: &str,
        masked: &[Pointer],
        secrets: &[Pointer],
    ) -> Option<FieldSource> {
        let field = &written.value;
        let hint = "write `at: /NAME` for an argument, `value: …` for a constant, `template: …` for a text";
        let at = match (&field.at, &field.value, &field.template) {
            (Some(at), None, None) => at,
            (None, Some(constant), None) => {
                self.refuse_flags(field, "value", "a constant is in plain sight and always there");
                return Some(FieldSource::Constant(constant.0.to_string().into()));
            }
            (None, None, Some(text)) => {
                self.refuse_flags(field, "template", "a text is in plain sight and always there");
                let template = self.template(text, "template", Lines::AsSent, secrets)?;
                return Some(FieldSource::Template(template));
            }
            (None, None, None) => {
                if !self.findings.any_within(written.span) {
                    let message = format!("{noun} needs `at`, `value` or `template`");
                    self.findings.push(Finding::at(written.span, message).hint(hint));
                }
                return None;
            }
            (Some(_), Some(_), _) | (Some(_), _, Some(_)) | (_, Some(_), Some(_)) => {
                let message = format!("{noun} has one of `at`, `value` and `template`, not several");
                self.findings.push(Finding::at(written.span, message).hint(hint));
                return None;
            }
        };
        match Pointer::parse(&at.value) {
            Ok(pointer) => {
                let optional = field.optional.as_ref().is_some_and(|optional| optional.value);
                let presence = if optional { Presence::Optional } else { Presence::Required };
                let covers = |secret: &&Pointer| pointer.covers(secret) || secret.covers(&pointer);
                // Below a secret everything is secret.
                let secrets = masked
                    .iter()
                    .filter(covers)
                    .map(|secret| if pointer.covers(secret) { secret.clone() } else { pointer.clone() });
                let secrets = secrets.collect();
                Some(FieldSource::At { pointer, presence, secrets })
            }
            Err((message, hint)) => {
                self.findings.push(Finding::at(at.span, message).hint(&hint));
                None
            }
        }
    }

    fn refuse_flags(&mut self, field: &PayloadField, beside: &str, why: &str) {
        for (name, flag) in [("secret", &field.secret), ("optional", &field.optional)] {
            if let Some(flag) = flag {
                let message = format!("`{name}` has no use beside `{beside}`: {why}");
                let hint = format!("remove it, or write `at` instead of `{beside}`");
                self.findings.push(Finding::at(flag.span, message).hint(&hint));
            }
        }
    }

    /// What goes to the tool's own server is not masked.
    pub(super) fn refuse_secret(&mut self, field: &PayloadField) {
        if let Some(secret) = field.secret.as_ref().filter(|_| field.at.is_some()) {
            let message = "`secret` has no use here: the server is asked about its own call";
            self.findings.push(Finding::at(secret.span, message).hint("remove it"));
        }
    }

    fn schema(&mut self, path: &Located<String>) -> Option<(Validator, String)> {
        let file = self.folder.join(&path.value);
        let text = match self.sources.read(&file) {
            Ok(text) => text,
            Err(finding) => {
                let message =
                    format!("the schema `{}` cannot be read: {}", file.display(), finding.message());
                let hint = finding.hint_text().unwrap_or("the path is relative to this file").to_owned();
                self.findings.push(Finding::at(path.span, message).hint(&hint));
                return None;
            }
        };
        let id = self.sources.add(file, text.clone());
        let root = parse(id, &text, self.findings)?;
        let mut json = String::new();
        root.json(&mut json);
        let schema: serde_json::Value = serde_json::from_str(&json).ok()?;
        let options = jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES_MAX));
        match options.build(&schema) {
            Ok(validator) => Some((validator, json)),
            Err(error) => {
                let node = root.closest(error.instance_path().as_str(), |_| true);
                let end = node.span.end.min(node.span.start + 200);
                let span = Span { end, ..node.span };
                let finding = Finding::at(span, format!("this is no valid JSON Schema: {error}"));
                let hint =
                    "references to other files or addresses are not followed; patterns have no look-around";
                self.findings.push(finding.hint(hint).related(path.span, "used here"));
                None
            }
        }
    }
}

/// Every place whose value must not leave; pointers that are wrong are reported where the payload is read.
fn secrets(entry: &ToolEntry) -> Vec<Pointer> {
    let fields = entry.payload.iter().flat_map(|payload| &payload.value.0);
    let is_secret = |field: &PayloadField| field.secret.as_ref().is_some_and(|secret| secret.value);
    let secret = fields.map(|(_, field)| &field.value).filter(|field| is_secret(field));
    secret.filter_map(|field| Pointer::parse(&field.at.as_ref()?.value).ok()).collect()
}

/// A line without templates in it.
pub(crate) fn plain_line(text: &Located<String>, field: &str, findings: &mut Findings) -> Option<String> {
    let finding = if text.value.trim().is_empty() {
        Finding::at(text.span, format!("`{field}` is empty")).hint("write a name, or remove the key")
    } else if text.value.contains("{{") {
        Finding::at(text.span, format!("`{field}` is no template"))
            .hint("write the name as reviewers should see it")
    } else if text.value.len() > Limits::DEFAULT.line_bytes {
        Finding::at(text.span, format!("`{field}` is longer than 4 KiB")).hint("write a short name")
    } else {
        return Some(text.value.clone());
    };
    findings.push(finding);
    None
}

const fn level(risk: Risk) -> RiskLevel {
    match risk {
        Risk::Low => RiskLevel::Low,
        Risk::Medium => RiskLevel::Medium,
        Risk::High => RiskLevel::High,
        Risk::Critical => RiskLevel::Critical,
    }
}
