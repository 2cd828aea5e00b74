use super::*;

fn curve(points: Vec<(f64, f64)>) -> Curve {
    Curve {
        chart: "loss".to_owned(),
        name: "train".to_owned(),
        x_label: "step <&>".to_owned(),
        y_label: "損失".to_owned(),
        points,
    }
}

#[test]
fn a_chart_is_svg_with_its_labels_as_text() {
    let c = curve(
        (0..10)
            .map(|i| (f64::from(i), 1.0 / f64::from(i + 1)))
            .collect(),
    );
    let svg = line_chart(&[&c]).unwrap().unwrap();
    assert!(svg.starts_with("<svg class=\"chart\" "), "{svg}");
    assert!(svg.trim_end().ends_with("</svg>"), "{svg}");
    assert!(
        svg.contains("step &lt;&amp;&gt;") && svg.contains("損失"),
        "{svg}"
    );
    assert!(svg.contains("#2563EB"), "{svg}");
    assert_eq!(
        svg.matches("<polyline").count() - svg.matches("#94A3B8").count(),
        1
    );
}

#[test]
fn what_cannot_be_placed_is_left_out() {
    assert_eq!(line_chart(&[&curve(vec![])]).unwrap(), None);
    let bad = curve(vec![(f64::NAN, 1.0), (1.0, f64::INFINITY), (1e300, -1e300)]);
    assert_eq!(line_chart(&[&bad]).unwrap(), None);
    assert_eq!(line_chart(&[]).unwrap(), None);
    for points in [
        vec![(3.0, 7.0)],
        vec![(0.0, 2.0), (1.0, 2.0)],
        vec![(1e12, 1e12), (1e12 - 1.0, 1e12 + 1e-3)],
        vec![(1e-300, 1e-300), (2e-300, 3e-300)],
    ] {
        assert!(line_chart(&[&curve(points)]).unwrap().is_some());
    }
}

#[test]
fn the_fall_from_random_weights_leaves_the_picture_and_a_spike_does_not() {
    let loss = |i: i32| 0.5 + 40.0 * (-f64::from(i) / 8.0).exp();
    let points: Vec<(f64, f64)> = (0..5_000).map(|i| (f64::from(i), loss(i))).collect();
    let kept = without_start(points.clone());
    assert!(kept[0].1 < 2.0 && kept.len() >= 4_900, "{:?}", kept[0]);
    assert_eq!(kept[kept.len() - 4_900..], points[100..]);
    let mut spiked = points.clone();
    spiked[2_500].1 = 100.0;
    assert_eq!(without_start(spiked.clone()), spiked);
    assert_eq!(without_start(points[..40].to_vec()), points[..40]);
}

#[test]
fn long_curves_are_thinned_and_keep_their_spikes() {
    let mut points: Vec<(f64, f64)> = (0..10_000).map(|i| (f64::from(i), 1.0)).collect();
    points[7777].1 = 50.0;
    let kept = thinned(&points);
    assert!(kept.len() <= MOST_POINTS, "{}", kept.len());
    assert!(kept.contains(&(7777.0, 50.0)));
    assert!(kept.windows(2).all(|w| w[0].0 <= w[1].0));
    let smooth = smoothed(&points);
    assert!(smooth.len() <= MOST_POINTS + 1, "{}", smooth.len());
    assert_eq!((smooth[0].0, smooth.last().unwrap().0), (0.0, 9999.0));
    assert!(line_chart(&[&curve(points)]).unwrap().unwrap().len() < 40_000);
}

#[test]
fn a_curve_that_turns_back_is_drawn_as_points() {
    let c = curve(vec![(0.0, 0.0), (2.0, 1.0), (1.0, 2.0)]);
    let svg = line_chart(&[&c]).unwrap().unwrap();
    assert_eq!(svg.matches("<circle").count(), 3, "{svg}");
}

#[test]
fn ticks_are_short() {
    assert_eq!(tick(0.25, &(0.0..1.0)), "0.25");
    assert_eq!(tick(200.0, &(0.0..1000.0)), "200");
    assert_eq!(tick(25_000.0, &(0.0..50_000.0)), "25k");
    assert_eq!(tick(-1e-17, &(-1.0..1.0)), "0");
    assert_eq!(tick(2e7, &(0.0..5e7)), "2.0e7");
    assert_eq!(tick(5e-4, &(0.0..9e-4)), "5.0e-4");
    assert_eq!(tick(30_000.2, &(30_000.0..30_001.0)), "30000.2");
}
