use holdpoint_core::{Completion, PermittedCall, Receipt, ToolCall};

fn forge(call: ToolCall, receipt: Receipt, completion: Completion) -> PermittedCall {
    PermittedCall { call, receipt, completion }
}

fn main() {}
