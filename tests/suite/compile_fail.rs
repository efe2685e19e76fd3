//! What must not compile does not, and says why.

/// The stages in a wrong order, without a device, and with two precisions.
#[test]
fn wrong_orders_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
