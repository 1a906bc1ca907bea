//! A double of the templates, until they are merged.
#[derive(Debug, PartialEq)]
pub struct TemplateSet(pub String);

impl TemplateSet {
    pub fn hash(&self) -> &str {
        &self.0
    }
}
