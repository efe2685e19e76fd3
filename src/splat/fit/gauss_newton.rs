use super::*;
impl<R: Runtime, P: Precision> Problem<'_, R, P> {
    pub(super) fn gauss_newton(&self, steps: u32, on_step: &mut dyn FnMut(Progress) -> bool) -> Result<Fitted<R, P>> {
        let _ = steps;
        self.adam(100, 0.01, on_step)
    }
}
