//! The kernel of a recipe has no splat yet: it runs, it is not built.
fn main() {
    let _kernel = splatport::recipe().kernel(8).build();
}
