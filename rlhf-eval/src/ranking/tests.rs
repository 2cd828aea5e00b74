use super::*;

fn near(got: &[f64], expected: &[f64]) {
    assert_eq!(got.len(), expected.len());
    for (g, e) in got.iter().zip(expected) {
        assert!(
            (g - e).abs() <= 1e-7 * (1.0 + e.abs()),
            "{got:?} {expected:?}"
        );
    }
}

const NO_TIES: [[f64; 3]; 3] = [[0.0; 3]; 3];

#[test]
fn four_players_with_ties() {
    let wins = [
        [0.0, 18.0, 10.0, 11.0],
        [15.0, 0.0, 14.0, 8.0],
        [19.0, 14.0, 0.0, 5.0],
        [4.0, 13.0, 6.0, 0.0],
    ];
    let ties = [
        [0.0, 1.0, 1.0, 0.0],
        [1.0, 0.0, 0.0, 2.0],
        [1.0, 0.0, 0.0, 3.0],
        [0.0, 2.0, 3.0, 0.0],
    ];
    let fit = bradley_terry_fit(&wins, &ties, 0.0).unwrap();
    near(
        &fit.log_strength,
        &[0.0200400433, -0.139061198, 0.168149063, -0.0491279092],
    );
    near(&fit.elo, &[1003.48131, 975.842596, 1029.21048, 991.465608]);
    near(
        &fit.win_probability[1],
        &[0.460308381, 0.5, 0.423795828, 0.477531819],
    );
    near(&[fit.log_likelihood], &[-99.1831235]);
}

#[test]
fn two_players_and_a_chain() {
    let two = bradley_terry_fit(&[[0.0, 7.0], [19.0, 0.0]], &[[0.0; 2]; 2], 0.0).unwrap();
    near(&two.log_strength, &[-0.499264415, 0.499264415]);
    near(&[two.log_likelihood], &[-15.1447983]);
    let chain = [[0.0, 8.0, 0.0], [2.0, 0.0, 5.0], [0.0, 2.0, 0.0]];
    let fit = bradley_terry_fit(&chain, &NO_TIES, 0.0).unwrap();
    near(&fit.log_strength, &[1.22962648, -0.156667876, -1.07295861]);
    near(&[fit.log_likelihood], &[-9.19191136]);
}

#[test]
fn a_player_without_wins_needs_a_prior() {
    let wins = [[0.0, 7.0, 9.0], [2.0, 0.0, 4.0], [0.0, 0.0, 0.0]];
    let error = bradley_terry_fit(&wins, &NO_TIES, 0.0).unwrap_err();
    assert!(
        matches!(error, EvalError::NoFiniteMaximum { from: 2, to: 0 }),
        "{error}"
    );
    let fit = bradley_terry_fit(&wins, &NO_TIES, 0.5).unwrap();
    near(&fit.log_strength, &[1.3893054, 0.328696833, -1.71800224]);
    near(&fit.elo, &[1241.34707, 1057.10049, 701.552444]);
    near(&[fit.log_likelihood], &[-9.24659032]);
}

#[test]
fn only_ties_are_equal_strength() {
    let ties = [[0.0, 4.0, 4.0], [4.0, 0.0, 4.0], [4.0, 4.0, 0.0]];
    let fit = bradley_terry_fit(&NO_TIES, &ties, 0.0).unwrap();
    near(&fit.log_strength, &[0.0; 3]);
    near(&[fit.log_likelihood], &[-8.31776617]);
}

#[test]
fn lopsided_results_converge() {
    let fit = bradley_terry_fit(&[[0.0, 1e6], [1.0, 0.0]], &[[0.0; 2]; 2], 0.0).unwrap();
    let half = 1e6f64.ln() / 2.0;
    near(&fit.log_strength, &[half, -half]);
}

#[test]
fn crooked_tables_are_refused() {
    let none: [[f64; 2]; 2] = [[0.0; 2]; 2];
    assert!(bradley_terry_fit(&[vec![0.0, 1.0], vec![1.0]], &none, 0.0).is_err());
    assert!(bradley_terry_fit(&[[0.0, 1.0], [-1.0, 0.0]], &none, 0.0).is_err());
    assert!(bradley_terry_fit(&[[0.0, 1.0], [1.0, 0.0]], &none[..1], 0.0).is_err());
    assert!(bradley_terry_fit(&none, &none, f64::NAN).is_err());
    let nobody = bradley_terry_fit::<Vec<f64>, Vec<f64>>(&[], &[], 0.0).unwrap();
    assert_eq!(nobody.log_likelihood, 0.0);
}
