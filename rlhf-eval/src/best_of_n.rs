//! Best-of-n sampling: what it costs in KL and what it earns.

/// KL between the best of `n` samples and one sample: log n − (n − 1)/n, exact for continuous
/// scores (Stiennon et al., 2020, appendix G.3). `None` for n = 0.
pub fn best_of_n_kl(n: u64) -> Option<f64> {
    (n > 0).then(|| (n as f64).ln() - (n - 1) as f64 / n as f64)
}

/// Expected gold score of the sample that a proxy likes best among `n` drawn without replacement
/// from those given: Σ_i C(i−1, n−1)/C(N, n) · gold of the i-th smallest proxy (Nakano et al.,
/// 2021, WebGPT, section 4.4).
///
/// All N samples serve the estimate, not one draw of n. Samples with equal proxy scores are equally
/// likely to be taken. `None` if n is 0 or above N, the lists differ in length, or a score is NaN.
pub fn best_of_n_reward(proxy: &[f64], gold: &[f64], n: usize) -> Option<f64> {
    let total = proxy.len();
    let bad = proxy.iter().chain(gold).any(|x| x.is_nan());
    if n == 0 || n > total || gold.len() != total || bad {
        return None;
    }
    let mut order: Vec<usize> = (0..total).collect();
    order.sort_by(|&a, &b| proxy[a].total_cmp(&proxy[b]));
    // weight(N) = n/N; weight(i − 1) = weight(i)·(i − n)/(i − 1): no large binomials appear.
    let mut weight = n as f64 / total as f64;
    let mut expected = 0.0;
    let mut end = total;
    while end >= n && end > 0 {
        let top = proxy[order[end - 1]];
        let start = order[..end]
            .iter()
            .rposition(|&i| proxy[i] != top)
            .map_or(0, |i| i + 1);
        let tied = &order[start..end];
        let mean = tied.iter().map(|&i| gold[i]).sum::<f64>() / tied.len() as f64;
        for i in ((start + 1)..=end).rev() {
            expected += weight * mean;
            weight *= if i > n {
                (i - n) as f64 / (i - 1) as f64
            } else {
                0.0
            };
        }
        end = start;
    }
    Some(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROXY: [f64; 8] = [
        1.9, -2.9784, 2.7226, 0.9441, -1.1268, -2.5296, 0.0809, 0.8628,
    ];
    const GOLD: [f64; 8] = [0.0263, -1.2822, 2.6044, 0.05, -2.8107, 0.9663, 0.94, 0.7835];

    #[test]
    fn kl_of_known_n() {
        let expected = [
            (1, 0.0),
            (2, 0.193147181),
            (4, 0.636294361),
            (16, 1.83508872),
            (256, 4.54908369),
            (3237, 7.08271118),
        ];
        for (n, kl) in expected {
            assert!((best_of_n_kl(n).unwrap() - kl).abs() < 1e-8, "{n}");
        }
        assert_eq!(best_of_n_kl(0), None);
    }

    #[test]
    fn reward_of_known_samples() {
        let expected = [
            (1, 0.1597),
            (2, 0.712053571),
            (3, 1.07673571),
            (5, 1.65325),
            (8, 2.6044),
        ];
        for (n, reward) in expected {
            assert!(
                (best_of_n_reward(&PROXY, &GOLD, n).unwrap() - reward).abs() < 1e-8,
                "{n}"
            );
        }
        assert_eq!(best_of_n_reward(&[1.75], &[1.75], 1), Some(1.75));
    }

    #[test]
    fn ties_share_their_chance() {
        let scores = [0.0, 0.0, 1.0, 1.0, 0.0, 0.0];
        for (n, reward) in [(1, 0.333333333), (2, 0.6), (3, 0.8), (6, 1.0)] {
            assert!((best_of_n_reward(&scores, &scores, n).unwrap() - reward).abs() < 1e-8);
        }
        let order = best_of_n_reward(&[1.0, 1.0, 0.0], &[4.0, 2.0, 9.0], 3).unwrap();
        assert!((order - 3.0).abs() < 1e-12);
    }

    #[test]
    fn what_cannot_be_drawn_has_no_reward() {
        assert_eq!(best_of_n_reward(&PROXY, &GOLD, 0), None);
        assert_eq!(best_of_n_reward(&PROXY, &GOLD, 9), None);
        assert_eq!(best_of_n_reward(&PROXY, &GOLD[..7], 2), None);
        assert_eq!(best_of_n_reward(&[f64::NAN, 1.0], &[0.0, 1.0], 1), None);
    }
}
