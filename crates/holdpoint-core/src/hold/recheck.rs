//! What was true when Gate was asked must still be true when the call runs.

use super::{GatedCall, unrecordable};
use crate::{Arguments, HeldCall, Mismatch, Plan, Rejection, StillThere, ToolCall, gate::unfit};

impl GatedCall<'_> {
    /// Our configuration makes the same of the call, the tool is the one that was described, and the caller is still
    /// who it was.
    pub(super) async fn recheck(&self, held: &HeldCall) -> Result<(), Rejection> {
        let mismatch = |what| Rejection::Mismatch { thread: held.hold.thread.clone(), what };
        if self.configuration_differs(held)? {
            return Err(mismatch(Mismatch::Configuration));
        }
        let current = match &self.caller.definitions {
            Some(definitions) => definitions.current(&self.call.server, &self.call.tool).await,
            None => self.call.definition,
        };
        if current != held.definition || (current.is_none() && self.caller.definitions.is_some()) {
            return Err(mismatch(Mismatch::Definition));
        }
        if let Some(standing) = &self.caller.standing
            && standing.is_still(&self.call.principal).await == StillThere::No
        {
            return Err(mismatch(Mismatch::Principal));
        }
        Ok(())
    }

    /// An edit of the configuration that leaves this call's question as it was changes nothing for it.
    fn configuration_differs(&self, held: &HeldCall) -> Result<bool, Rejection> {
        let now = self.gate.parts.policy.plan(&self.frozen(held)?).map_err(unfit)?;
        match now {
            Plan::Deny(entry) => Err(Rejection::DeniedByConfig { entry, problem: None }),
            // It would need nobody now. What was asked was asked on other terms all the same.
            Plan::Pass(_) | Plan::PassOnce(..) => Ok(true),
            Plan::Gate(now) => {
                // A hold that is older than this field knows only the whole configuration.
                let asked = match held.question {
                    Some(question) => question == now.digest(),
                    None => held.policy == self.gate.parts.policy.revision(),
                };
                let effect = now.effect.as_ref().map(|effect| &effect.key);
                let as_planned = now.tokens == self.ask.tokens && effect == self.facts.effect.as_ref();
                // The hold's own effect is the one that its run takes.
                let as_held = effect == held.effect.as_ref();
                Ok(!(asked && as_planned && as_held))
            }
        }
    }

    /// The call as it was when Gate was asked: its bytes run, even if this caller spelt the same arguments in another
    /// order. A journal that hands out another call's hold, or other bytes than were approved, lets nothing run.
    pub(super) fn frozen(&self, held: &HeldCall) -> Result<ToolCall, Rejection> {
        let corrupt = || unrecordable(Some(held.hold.thread.clone()));
        let mut call = self.call.clone();
        if call.arguments.raw() != held.arguments.as_ref() {
            let frozen = held.arguments.clone().map_or(Ok(Arguments::absent()), Arguments::parse);
            call.arguments = frozen.map_err(|_| corrupt())?;
        }
        if held.identity != self.identity || call.digest() != self.identity.digest {
            return Err(corrupt());
        }
        Ok(call)
    }
}
