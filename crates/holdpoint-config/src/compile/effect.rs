//! `effect` and `reconcile` of an entry.

use super::entry::Reading;
use crate::{
    effect::{Conditions, EffectMapping, ReconcileMapping, SETTLES_WITHIN, unusable},
    explain::ONE_RUN_EVER,
    fields::Field,
    load::Located,
    mistake::Finding,
    pointer::Pointer,
    template::{Condition, Lines, Template, TemplateMistake},
    written::{Reconcile, WrittenEffect},
};
use holdpoint_api::declare::HumaneDuration;
use holdpoint_core::ToolName;

impl Reading<'_> {
    pub(super) fn effect(
        &mut self,
        written: &Located<WrittenEffect>,
        secrets: &[Pointer],
    ) -> Option<EffectMapping> {
        let (key, reconcile) = match &written.value {
            WrittenEffect::Key(key) => (&Located { value: key.clone(), span: written.span }, None),
            WrittenEffect::Told(effect) => (&effect.key, effect.reconcile.as_ref()),
        };
        let reconcile = reconcile.map(|reconcile| self.reconcile(&reconcile.value, secrets).ok_or(()));
        let key = self.key(key, secrets);
        Some(EffectMapping { key: key?, reconcile: reconcile.transpose().ok()? })
    }

    fn key(&mut self, written: &Located<String>, secrets: &[Pointer]) -> Option<Template> {
        if written.value.trim().is_empty() {
            let hint = "write a name that tells effects apart, such as `refund:{{ args.order_id }}`";
            self.findings.push(Finding::at(written.span, "`effect` has no name").hint(hint));
            return None;
        }
        let template = self.template(written, "effect", Lines::AsSent, secrets)?;
        let Some(name) = template.constant() else { return Some(template) };
        if let Some(problem) = unusable(&name) {
            let finding = Finding::at(written.span, format!("`effect` {problem}"));
            self.findings.push(finding.hint("write a short name, such as `refund:{{ args.order_id }}`"));
            return None;
        }
        let note = Finding::at(written.span, format!("`effect`: {ONE_RUN_EVER}"));
        self.notes
            .push(note.hint("name an argument that tells effects apart, as in `refund:{{ args.order_id }}`"));
        Some(template)
    }

    fn reconcile(&mut self, written: &Reconcile, secrets: &[Pointer]) -> Option<ReconcileMapping> {
        let arguments = written.arguments.as_ref().map_or(Some(Vec::new()), |arguments| {
            for (_, field) in &arguments.value.0 {
                self.refuse_secret(&field.value);
            }
            let fields = arguments.value.0.iter().map(|(name, field)| {
                // The server knows the call's secrets, and its own tool is asked about them.
                let source = self.field(field, "an argument", &[], secrets)?;
                Some(Field::new(&name.value, source))
            });
            fields.collect::<Vec<_>>().into_iter().collect()
        });
        let happened = self.condition(&written.happened);
        let did_not_happen = written.did_not_happen.as_ref();
        let did_not_happen = did_not_happen.map(|written| self.condition(written).ok_or(()));
        let conditions = Conditions { happened: happened?, did_not_happen: did_not_happen.transpose().ok()? };
        Some(ReconcileMapping {
            tool: ToolName::new(written.tool.value.as_str()),
            arguments: arguments?,
            conditions,
            after: written.after.map_or(SETTLES_WITHIN, HumaneDuration::get),
        })
    }

    fn condition(&mut self, written: &Located<String>) -> Option<Condition> {
        Condition::compile(written.value.trim()).map_err(|mistake| self.place(written, mistake)).ok()
    }

    /// Notes where in `written` the mistake is.
    pub(super) fn place(&mut self, written: &Located<String>, mistake: TemplateMistake) {
        let TemplateMistake { range, message, hint } = mistake;
        let span = self.sources.within(written.span, &written.value, range);
        self.findings.push(Finding::at(span, message).hint(&hint));
    }
}
