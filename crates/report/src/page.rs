pub(crate) fn html(_: &crate::report::Report) -> String {
    String::new()
}
