use crate::{
    load::{Node, decode_noting},
    mistake::{Finding, Findings},
};
use holdpoint_api::declare::{GateDeclaration, RuleTest};

/// A compiled pattern of a rule may be this large.
const PATTERN_BYTES_MAX: usize = 1024 * 1024;

pub(super) fn declaration(root: &Node, findings: &mut Findings) -> Option<GateDeclaration> {
    let (declaration, left_out) = decode_noting::<GateDeclaration>(root, findings)?;
    for mistake in declaration.mistakes() {
        let node = left_out.closest(root, &mistake.at);
        let hint = if mistake.message.contains("declared twice") {
            "keep one of them"
        } else {
            "change the rule so that it can match"
        };
        findings.push(Finding::at(node.span, mistake.message).hint(hint));
    }
    for (tool_at, tool) in declaration.tools.iter().enumerate() {
        for (rule_at, rule) in tool.rules.iter().enumerate() {
            let RuleTest::Regex { pattern } = &rule.test else { continue };
            let compiled = regex::RegexBuilder::new(pattern).size_limit(PATTERN_BYTES_MAX).build();
            if let Err(error) = compiled {
                let node = left_out.closest(root, &format!("/tools/{tool_at}/rules/{rule_at}/pattern"));
                let reason = error.to_string();
                let reason = reason.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let finding = Finding::at(node.span, format!("this pattern cannot be used: {reason}"));
                findings.push(finding.hint("look-around and back-references are not supported"));
            }
        }
    }
    Some(declaration)
}
