//! Axes: their range, their ticks and the labels of the ticks.

use super::number::{decimal, significant};
use plotters::coord::ranged1d::{KeyPointHint, NoDefaultFormatting, Ranged, ValueFormatter};
use std::ops::Range;

/// One axis of a chart; values beyond its ends are drawn at the ends.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// What it shows, with its unit; may be empty where the title says it.
    pub label: String,
    low: f64,
    high: f64,
    is_log: bool,
    ticks: Vec<(f64, String)>,
}

impl Axis {
    /// From `low` to `high`, with ticks at round numbers.
    pub fn linear(label: &str, low: f64, high: f64) -> Self {
        let (low, high) = if high > low { (low, high) } else { (low - 0.5, low + 0.5) };
        let step = round_step((high - low) / 4.5);
        let decimals = (-(step.log10() + 1e-9).floor()).max(0.0) as usize;
        // A step of 2.5 needs one digit more than its power of ten suggests.
        let decimals = decimals + usize::from((step * 10f64.powi(decimals as i32)).fract().abs() > 1e-6);
        let first = (low / step - 1e-6).ceil() as i64;
        let last = (high / step + 1e-6).floor() as i64;
        let ticks = (first..=last).map(|k| k as f64 * step).map(|v| (v, decimal(v, decimals))).collect();
        Self { label: label.into(), low, high, is_log: false, ticks }
    }

    /// Around finite values, with a little room on both sides.
    pub fn around(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = ends(values).unwrap_or((0.0, 1.0));
        let room = if high > low { 0.05 * (high - low) } else { 0.05 * high.abs().max(0.1) };
        Self::linear(label, low - room, high + room)
    }

    /// From zero to beyond the largest finite value.
    pub fn from_zero(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (_, high) = ends(values).unwrap_or((0.0, 1.0));
        Self::linear(label, 0.0, if high > 0.0 { 1.06 * high } else { 1.0 })
    }

    /// A logarithmic axis around the positive values.
    pub fn log(label: &str, values: impl IntoIterator<Item = f64>) -> Self {
        let (low, high) = ends(values.into_iter().filter(|v| *v > 0.0)).unwrap_or((0.1, 1.0));
        let (low, high) = (low / 1.15, high * 1.15);
        let decades = |factors: &[f64]| -> Vec<f64> {
            let powers = (low.log10().floor() as i32)..=(high.log10().ceil() as i32);
            let ticks = powers.flat_map(|p| factors.iter().map(move |f| f * 10f64.powi(p)));
            ticks.filter(|t| (low..=high).contains(t)).collect()
        };
        let choices = [decades(&[1.0]), decades(&[1.0, 3.0]), decades(&[1.0, 2.0, 5.0])];
        let [_, _, finest] = &choices;
        let ticks = choices.iter().find(|ticks| ticks.len() >= 3).unwrap_or(finest);
        if ticks.len() < 2 {
            return Self { is_log: true, ..Self::linear(label, low, high) };
        }
        let ticks = ticks.iter().map(|t| (*t, significant(*t, 2))).collect();
        Self { label: label.into(), low, high, is_log: true, ticks }
    }

    /// One unit per name, from 0, with the names in the middle.
    pub fn names<T: AsRef<str>>(label: &str, names: &[T]) -> Self {
        let ticks = names.iter().enumerate().map(|(i, name)| (i as f64 + 0.5, name.as_ref().to_string())).collect();
        Self { label: label.into(), low: 0.0, high: names.len().max(1) as f64, is_log: false, ticks }
    }

    /// One unit per index, from 0, with a few of the numbers as labels.
    pub fn indices(label: &str, count: usize) -> Self {
        let step = round_step(count as f64 / 4.5).max(1.0).ceil() as usize;
        let ticks = (1..=count).filter(|i| i % step == 0).map(|i| (i as f64 - 0.5, i.to_string())).collect();
        Self { label: label.into(), low: 0.0, high: count.max(1) as f64, is_log: false, ticks }
    }

    /// The same axis with the rows counted from the top.
    pub fn counted_from_top(mut self) -> Self {
        self.ticks.iter_mut().for_each(|(at, _)| *at = self.high - *at);
        self
    }

    /// The same axis with ticks at these values only.
    pub fn with_ticks(mut self, ticks: impl IntoIterator<Item = f64>) -> Self {
        self.ticks = ticks.into_iter().map(|t| (t, significant(t, 3))).collect();
        self
    }

    /// The same axis without ticks.
    pub fn bare(mut self) -> Self {
        self.ticks.clear();
        self
    }

    /// Both ends.
    pub fn ends(&self) -> (f64, f64) {
        (self.low, self.high)
    }

    /// The labels of the ticks.
    pub fn tick_labels(&self) -> impl Iterator<Item = &str> {
        self.ticks.iter().map(|(_, label)| label.as_str())
    }

    /// Where a value lies between the ends, from 0 to 1.
    fn fraction(&self, value: f64) -> f64 {
        let of = |v: f64| if self.is_log { v.max(f64::MIN_POSITIVE).ln() } else { v };
        ((of(value) - of(self.low)) / (of(self.high) - of(self.low))).clamp(0.0, 1.0)
    }
}

impl Ranged for Axis {
    type FormatOption = NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        limit.0 + (self.fraction(*value) * f64::from(limit.1 - limit.0)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _hint: Hint) -> Vec<f64> {
        self.ticks.iter().map(|(at, _)| *at).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

impl ValueFormatter<f64> for Axis {
    fn format_ext(&self, value: &f64) -> String {
        self.ticks.iter().find(|(at, _)| at == value).map_or_else(String::new, |(_, label)| label.clone())
    }
}

fn ends(values: impl IntoIterator<Item = f64>) -> Option<(f64, f64)> {
    let finite = values.into_iter().filter(|v| v.is_finite());
    finite.fold(None, |ends, v| Some(ends.map_or((v, v), |(low, high): (f64, f64)| (low.min(v), high.max(v)))))
}

/// The next of 1, 2, 2.5, 5 times a power of ten.
fn round_step(at_least: f64) -> f64 {
    let power = 10f64.powf(at_least.max(f64::MIN_POSITIVE).log10().floor());
    let factors = [1.0, 2.0, 2.5, 5.0, 10.0];
    factors.iter().map(|f| f * power).find(|step| *step >= at_least * (1.0 - 1e-9)).unwrap_or(10.0 * power)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(axis: &Axis) -> Vec<&str> {
        axis.tick_labels().collect()
    }

    #[test]
    fn ticks_are_round_and_share_their_decimals() {
        assert_eq!(labels(&Axis::linear("", 0.0, 1.0)), ["0.00", "0.25", "0.50", "0.75", "1.00"]);
        assert_eq!(labels(&Axis::linear("", 0.0, 3000.0)), ["0", "1000", "2000", "3000"]);
        assert_eq!(labels(&Axis::linear("", -0.02, 0.02)), ["−0.02", "−0.01", "0.00", "0.01", "0.02"]);
    }

    #[test]
    fn a_log_axis_has_ticks_however_short_it_is() {
        assert_eq!(labels(&Axis::log("", [0.001, 1.0])), ["0.001", "0.01", "0.1", "1"]);
        assert_eq!(labels(&Axis::log("", [0.3, 2.2])), ["0.5", "1", "2"]);
        assert!(Axis::log("", [1.1, 1.2]).tick_labels().count() >= 1);
        assert!(Axis::log("", []).tick_labels().count() >= 1);
    }

    #[test]
    fn values_beyond_the_ends_stay_inside() {
        let axis = Axis::linear("", 0.0, 10.0);
        assert_eq!([-5.0, 0.0, 5.0, 20.0].map(|v| axis.map(&v, (100, 200))), [100, 100, 150, 200]);
        assert_eq!(Axis::log("", [0.01, 1.0]).map(&0.0, (0, 50)), 0);
    }

    #[test]
    fn ranges_without_extent_or_values_are_opened() {
        let (low, high) = Axis::around("", [3.0, 3.0]).ends();
        assert!(low < 3.0 && high > 3.0);
        assert!(Axis::around("", [f64::NAN]).ends().1.is_finite());
        assert_eq!(Axis::from_zero("", []).ends().0, 0.0);
    }

    #[test]
    fn rows_are_counted_counted_from_top() {
        let axis = Axis::names("", &["a", "b", "c"]).counted_from_top();
        assert!(axis.map(&2.5, (0, 30)) == 25 && axis.format_ext(&2.5) == "a");
    }
}
