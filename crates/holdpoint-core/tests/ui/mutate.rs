fn swap(permitted: &mut holdpoint_core::PermittedCall, other: holdpoint_core::ToolCall) {
    permitted.call = other;
}

fn main() {}
