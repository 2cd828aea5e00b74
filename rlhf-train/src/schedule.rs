//! How the learning rate moves.

use serde::{Deserialize, Serialize};

/// The shape of the learning rate after the warm-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// max(floor, 1 − (1 − floor)·x)
    Linear,
    /// floor + (1 − floor)·½·(1 + cos πx)
    Cosine,
    /// 1
    Constant,
}

/// The factor on the learning rate for the update made after `step` completed updates.
///
/// During the warm-up `step / warmup_steps`, so the first update of a warm-up uses 0; afterwards
/// the schedule at x = min(1, (step − warmup_steps) / max(1, total_steps − warmup_steps)). It never
/// climbs again after `total_steps`.
pub fn lr_multiplier(
    schedule: Schedule,
    step: u64,
    warmup_steps: u64,
    total_steps: u64,
    floor: f64,
) -> f64 {
    if step < warmup_steps {
        return step as f64 / warmup_steps as f64;
    }
    let span = total_steps.saturating_sub(warmup_steps).max(1);
    let x = ((step - warmup_steps) as f64 / span as f64).min(1.0);
    match schedule {
        Schedule::Linear => floor.max(1.0 - (1.0 - floor) * x),
        Schedule::Cosine => floor + (1.0 - floor) * 0.5 * (1.0 + (std::f64::consts::PI * x).cos()),
        Schedule::Constant => 1.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_update_of_a_warm_up_does_nothing_and_the_end_stays_at_the_floor() {
        let at = |step| lr_multiplier(Schedule::Cosine, step, 4, 20, 0.1);
        assert_eq!([at(0), at(2), at(4)], [0.0, 0.5, 1.0]);
        assert!((at(20) - 0.1).abs() < 1e-12);
        assert!((at(35) - 0.1).abs() < 1e-12);
    }

    #[test]
    fn after_the_warm_up_each_shape_falls_as_it_says() {
        let of = |schedule, step| lr_multiplier(schedule, step, 10, 110, 0.2);
        for schedule in [Schedule::Linear, Schedule::Cosine, Schedule::Constant] {
            assert_eq!(of(schedule, 5), 0.5, "{schedule:?}");
            assert_eq!(of(schedule, 10), 1.0, "{schedule:?}");
            let rates: Vec<f64> = (10..=130).map(|step| of(schedule, step)).collect();
            assert!(
                rates.windows(2).all(|w| w[1] <= w[0]),
                "{schedule:?} climbs again"
            );
        }
        assert!((of(Schedule::Linear, 60) - 0.6).abs() < 1e-12);
        assert!((of(Schedule::Cosine, 60) - 0.6).abs() < 1e-12);
        assert!((of(Schedule::Linear, 109) - 0.208).abs() < 1e-12);
        assert_eq!(of(Schedule::Linear, 200), 0.2);
        assert_eq!(of(Schedule::Constant, 200), 1.0);
        assert_eq!(lr_multiplier(Schedule::Linear, 0, 0, 0, 0.0), 1.0);
    }
}
