/// Forge, clone, change, use twice: each is a compile error with exactly this message. `compile_fail` doc tests pass
/// for any error at all, so they would not notice a permit that became public.
#[test]
fn a_permit_cannot_be_forged_cloned_changed_or_used_twice() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
