//! What a run found, and its comparison with what was expected.

use serde_json::{Map, Value};

/// A figure as a run found it. Not JSON, whose numbers have no NaN.
#[derive(Clone, Debug, PartialEq)]
pub enum Figure {
    /// Undefined.
    Null,
    /// A number, a count or a 0/1 flag.
    Number(f64),
    /// A text.
    Text(String),
    /// An array.
    List(Vec<Self>),
}

impl From<f64> for Figure {
    fn from(value: f64) -> Self {
        Self::Number(value)
    }
}

impl From<usize> for Figure {
    fn from(value: usize) -> Self {
        Self::Number(value as f64)
    }
}

impl<T: Into<Self>> From<Option<T>> for Figure {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Figure {
    fn from(values: Vec<T>) -> Self {
        Self::List(values.into_iter().map(Into::into).collect())
    }
}

impl Figure {
    /// Row-major numbers as nested lists of a shape; a shape without axes is one number.
    pub fn shaped(numbers: &[f64], shape: &[usize]) -> Self {
        match shape.split_first() {
            None => numbers.first().copied().into(),
            Some((&length, inner)) => {
                let size: usize = inner.iter().product();
                let part = |i: usize| Self::shaped(&numbers[i * size..(i + 1) * size], inner);
                Self::List((0..length).map(part).collect())
            }
        }
    }

    /// Numbers laid out like the nested, possibly ragged lists of `template`.
    pub fn like(numbers: &[f64], template: &Value) -> Self {
        Self::laid_out(&mut numbers.iter().copied(), template)
    }

    fn laid_out(numbers: &mut impl Iterator<Item = f64>, template: &Value) -> Self {
        match template {
            Value::Array(items) => {
                let mut list = Vec::with_capacity(items.len());
                for item in items {
                    list.push(Self::laid_out(numbers, item));
                }
                Self::List(list)
            }
            _ => numbers.next().into(),
        }
    }
}

/// The figures of one run, by name.
#[derive(Clone, Debug, Default)]
pub struct Figures(Vec<(String, Figure)>);

impl Figures {
    /// Adds a figure.
    pub fn set(&mut self, name: &str, figure: impl Into<Figure>) {
        self.0.push((name.to_owned(), figure.into()));
    }

    /// The figure of this name.
    pub fn get(&self, name: &str) -> Option<&Figure> {
        self.0
            .iter()
            .find(|(key, _)| key == name)
            .map(|(_, figure)| figure)
    }
}

/// A number x stands for y if |x − y| ≤ absolute + relative · |y|.
#[derive(Clone, Copy, Debug)]
pub struct Tolerance {
    /// In the figure's own unit.
    pub absolute: f64,
    /// As a share of the expected figure.
    pub relative: f64,
}

impl Tolerance {
    /// What a computation in f32 on a CPU reaches.
    pub const SINGLE: Self = Self {
        absolute: 1e-6,
        relative: 1e-4,
    };

    fn holds(self, x: f64, y: f64) -> bool {
        (x - y).abs() <= self.absolute + self.relative * y.abs()
    }
}

/// Every expected figure that was not found, one line each. Integers, texts, flags and null have to
/// be equal; a figure that the run did not give is a difference.
pub fn compare(
    found: &Figures,
    expected: &Map<String, Value>,
    tolerance: Tolerance,
) -> Vec<String> {
    let mut differences = Vec::new();
    for (name, want) in expected {
        match found.get(name) {
            Some(got) => differ(name, got, want, tolerance, &mut differences),
            None => differences.push(format!("{name}: nothing computes this figure")),
        }
    }
    differences
}

fn differ(place: &str, got: &Figure, want: &Value, tolerance: Tolerance, out: &mut Vec<String>) {
    if let (Figure::List(got), Value::Array(want)) = (got, want)
        && got.len() == want.len()
    {
        for (i, (got, want)) in got.iter().zip(want).enumerate() {
            differ(&format!("{place}[{i}]"), got, want, tolerance, out);
        }
        return;
    }
    if !same(got, want, tolerance) {
        out.push(format!("{place}: got {got:?}, expected {want}"));
    }
}

fn same(got: &Figure, want: &Value, tolerance: Tolerance) -> bool {
    match (got, want) {
        (Figure::Null, Value::Null) => true,
        (Figure::Text(got), Value::String(want)) => got == want,
        (&Figure::Number(got), Value::Bool(want)) => got == f64::from(u8::from(*want)),
        (&Figure::Number(got), Value::Number(want)) => match want.as_i64() {
            Some(want) => got == want as f64,
            None => want.as_f64().is_some_and(|want| tolerance.holds(got, want)),
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn differences(got: Figure, want: Value) -> usize {
        let mut figures = Figures::default();
        figures.set("x", got);
        let Value::Object(expected) = json!({ "x": want }) else {
            unreachable!()
        };
        compare(&figures, &expected, Tolerance::SINGLE).len()
    }

    #[test]
    fn numbers_within_tolerance_pass_and_others_do_not() {
        assert_eq!(differences(Figure::Number(100.0099), json!(100.0)), 0);
        assert_eq!(differences(Figure::Number(100.011), json!(100.0)), 1);
        assert_eq!(differences(Figure::Number(9e-7), json!(0.0)), 0);
        assert_eq!(differences(Figure::Number(2e-6), json!(0.0)), 1);
        assert_eq!(differences(Figure::Number(f64::NAN), json!(0.0)), 1);
        assert_eq!(differences(Figure::Number(f64::INFINITY), json!(1e30)), 1);
    }

    #[test]
    fn integers_flags_null_and_texts_have_to_be_equal() {
        assert_eq!(differences(Figure::Number(3.0), json!(3)), 0);
        assert_eq!(differences(Figure::Number(3.0000001), json!(3)), 1);
        assert_eq!(differences(Figure::Number(1.0), json!(true)), 0);
        assert_eq!(differences(Figure::Number(1.0), json!(false)), 1);
        assert_eq!(differences(Figure::Null, json!(null)), 0);
        assert_eq!(differences(Figure::Null, json!(0.0)), 1);
        assert_eq!(differences(Figure::Number(f64::NAN), json!(null)), 1);
        assert_eq!(differences(Figure::Text("up".into()), json!("up")), 0);
        assert_eq!(differences(Figure::Text("up".into()), json!("down")), 1);
    }

    #[test]
    fn lists_need_their_length_and_every_difference_is_told() {
        let list = || Figure::from(vec![1.0, 2.0, 3.0]);
        assert_eq!(differences(list(), json!([1.0, 2.0, 3.0])), 0);
        assert_eq!(differences(list(), json!([1.0, 2.5, 3.5])), 2);
        assert_eq!(differences(list(), json!([1.0, 2.0])), 1);
        assert_eq!(differences(list(), json!(1.0)), 1);
    }

    #[test]
    fn an_expected_figure_that_nothing_computes_is_a_difference() {
        let Value::Object(expected) = json!({ "unheard_of": 1.0 }) else {
            unreachable!()
        };
        let told = compare(&Figures::default(), &expected, Tolerance::SINGLE);
        assert_eq!(told, ["unheard_of: nothing computes this figure"]);
    }

    #[test]
    fn numbers_take_a_shape() {
        let rows = Figure::shaped(&[1.0, 2.0, 3.0, 4.0], &[2, 2]);
        assert_eq!(rows, Figure::from(vec![vec![1.0, 2.0], vec![3.0, 4.0]]));
        assert_eq!(
            Figure::shaped(&[], &[1, 0]),
            Figure::List(vec![Figure::List(vec![])])
        );
        let ragged = Figure::like(&[1.0, 2.0, 3.0], &json!([[0, 0], [0]]));
        assert_eq!(ragged, Figure::from(vec![vec![1.0, 2.0], vec![3.0]]));
    }
}
