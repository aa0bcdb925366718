//! Configurations in pages: the blocks marked as TOML.

use pollux_control::model::{Config, parse, validate};

use super::files::Text;

/// A configuration in a page.
pub struct Sample {
    place: String,
    text: String,
}

/// Returns the configurations of a page.
pub fn configurations(page: &Text) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut lines = page.content.lines().zip(1..);
    while let Some((_, number)) = lines.find(|(line, _)| line.trim() == "```toml") {
        let block = lines.by_ref().map(|(line, _)| line).take_while(|line| line.trim() != "```");
        let text = block.collect::<Vec<_>>().join("\n");
        samples.push(Sample { place: format!("{}:{number}", page.path.display()), text });
    }
    samples
}

impl Sample {
    /// Returns what is wrong with the configuration.
    pub fn problem(&self) -> Option<String> {
        let place = &self.place;
        match parse::toml::<Config>(&self.text) {
            Ok(config) => validate::validate(&config).err().map(|errors| format!("{place}: {errors}")),
            Err(wrong) => Some(format!("{place}{wrong}")),
        }
    }
}
