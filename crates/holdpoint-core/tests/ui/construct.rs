use holdpoint_core::{Completion, PermittedCall, Receipt, ToolCall};

fn construct(call: ToolCall, receipt: Receipt, completion: Completion) -> PermittedCall {
    PermittedCall::new(call, receipt, completion)
}

fn main() {}
