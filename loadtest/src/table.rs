//! The figures: medians with their spread, and the Markdown table they stand in.

use std::fmt::Write as _;

/// Figures of several runs.
#[derive(Clone, Debug, Default)]
pub(crate) struct Runs(Vec<f64>);

impl Runs {
    pub(crate) fn push(&mut self, figure: f64) {
        self.0.push(figure);
    }

    /// The middle one; of an even number the mean of the two in the middle; 0 without any.
    pub(crate) fn median(&self) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        match sorted.len() {
            0 => 0.0,
            len if len % 2 == 1 => sorted[len / 2],
            len => f64::midpoint(sorted[len / 2 - 1], sorted[len / 2]),
        }
    }

    /// `median (least to most) unit`.
    pub(crate) fn show(&self, unit: &str) -> String {
        let (least, most) = self
            .0
            .iter()
            .fold((f64::INFINITY, 0.0_f64), |(least, most), figure| (least.min(*figure), most.max(*figure)));
        if self.0.len() < 2 {
            return format!("{} {unit}", number(self.median()));
        }
        format!("{} ({} to {}) {unit}", number(self.median()), number(least), number(most))
    }
}

impl FromIterator<f64> for Runs {
    fn from_iter<I: IntoIterator<Item = f64>>(figures: I) -> Self {
        Self(figures.into_iter().collect())
    }
}

/// Three digits that mean something; thousands apart.
pub(crate) fn number(figure: f64) -> String {
    match figure {
        figure if figure >= 1000.0 => {
            let digits = format!("{figure:.0}");
            let mut spaced = String::new();
            for (at, digit) in digits.chars().enumerate() {
                if at > 0 && (digits.len() - at).is_multiple_of(3) {
                    spaced.push(',');
                }
                spaced.push(digit);
            }
            spaced
        }
        figure if figure >= 100.0 => format!("{figure:.0}"),
        figure if figure >= 10.0 => format!("{figure:.1}"),
        figure if figure >= 1.0 => format!("{figure:.2}"),
        figure => format!("{figure:.3}"),
    }
}

/// One line of the table.
#[derive(Clone, Debug, Default)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) measured: String,
    pub(crate) baseline: String,
    /// Measured by baseline, larger is better unless the text says otherwise.
    pub(crate) ratio: String,
    pub(crate) budget: String,
    /// Processor time of each part.
    pub(crate) cpu: String,
}

/// The table as Markdown.
pub(crate) fn markdown(rows: &[Row]) -> String {
    let mut text = String::from(
        "| row | measured | baseline beside it | ratio | budget | CPU |\n| --- | --- | --- | --- | --- | --- |\n",
    );
    for row in rows {
        let dash = |cell: &str| if cell.is_empty() { "-".to_string() } else { cell.replace('|', "/") };
        let _ = writeln!(
            text,
            "| {} | {} | {} | {} | {} | {} |",
            dash(&row.name),
            dash(&row.measured),
            dash(&row.baseline),
            dash(&row.ratio),
            dash(&row.budget),
            dash(&row.cpu)
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_do_not_depend_on_the_order() {
        let runs: Runs = [3.0, 1.0, 2.0].into_iter().collect();
        assert_eq!(runs.median().to_bits(), 2.0_f64.to_bits());
        assert_eq!(runs.show("s"), "2.00 (1.00 to 3.00) s");
        let runs: Runs = [4.0, 1.0].into_iter().collect();
        assert_eq!(runs.show("s"), "2.50 (1.00 to 4.00) s");
        assert_eq!(Runs::default().show("s"), "0.000 s");
    }

    #[test]
    fn numbers_keep_three_digits() {
        let shown: Vec<String> = [0.1234, 1.234, 12.34, 123.4, 1234.5, 1_234_567.0].map(number).into();
        assert_eq!(shown, ["0.123", "1.23", "12.3", "123", "1,234", "1,234,567"]);
    }

    #[test]
    fn a_cell_cannot_break_the_table() {
        let text = markdown(&[Row { name: "a|b".into(), ..Row::default() }]);
        assert!(text.ends_with("| a/b | - | - | - | - | - |\n"));
    }
}
