fn needs_clone<T: Clone>() {}

fn main() {
    needs_clone::<holdpoint_core::PermittedCall>();
}
