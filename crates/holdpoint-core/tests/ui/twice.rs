fn twice(permitted: holdpoint_core::PermittedCall) {
    let _first = permitted.into_parts();
    let _second = permitted.into_parts();
}

fn main() {}
