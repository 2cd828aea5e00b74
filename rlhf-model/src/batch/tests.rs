use super::*;

fn ints(x: Tensor<2, Int>) -> Vec<i64> {
    x.into_data().iter::<i64>().collect()
}

#[test]
fn padding_sees_itself_and_tokens_see_their_row() {
    let device = Device::flex();
    let rows: [&[u32]; 3] = [&[7, 8, 9], &[5], &[]];
    let right = TokenBatch::right_padded(&rows, &device);
    assert_eq!(ints(right.ids()), [7, 8, 9, 5, 0, 0, 0, 0, 0]);
    assert_eq!(ints(right.first_key()), [0, 0, 0, 0, 1, 2, 0, 1, 2]);
    assert_eq!(right.last_valid(1), Some(0));
    assert_eq!(right.last_valid(2), None);
    let left = TokenBatch::left_padded(&rows, &device);
    assert_eq!(ints(left.ids()), [7, 8, 9, 0, 0, 5, 0, 0, 0]);
    assert_eq!(ints(left.first_key()), [0, 0, 0, 0, 1, 2, 0, 1, 2]);
    assert_eq!(left.positions(), [0, 1, 2, 0, 0, 0, 0, 0, 0]);
    assert_eq!((left.row_start(1), left.host_ids(1)), (2, &[5][..]));
    assert_eq!(left.lengths(), [3, 1, 0]);
    let mask: Vec<bool> = left.valid_mask().into_data().iter::<bool>().collect();
    assert_eq!(
        mask,
        [true, true, true, false, false, true, false, false, false]
    );
}

#[test]
fn packed_documents_start_again() {
    let row = PackedTokens {
        ids: &[1, 2, 3, 4, 5],
        segment_starts: &[0, 2],
    };
    let short = PackedTokens {
        ids: &[6, 7],
        segment_starts: &[0],
    };
    let batch = TokenBatch::packed(&[row, short], &Device::flex()).unwrap();
    assert_eq!(batch.positions(), [0, 1, 0, 1, 2, 0, 1, 0, 0, 0]);
    assert_eq!(ints(batch.first_key()), [0, 0, 2, 2, 2, 0, 0, 2, 3, 4]);
    for starts in [&[0, 5][..], &[0, 3, 3], &[1]] {
        let row = PackedTokens {
            ids: &[1, 2, 3, 4, 5],
            segment_starts: starts,
        };
        assert!(
            TokenBatch::packed(&[row], &Device::flex()).is_err(),
            "{starts:?}"
        );
    }
}

#[test]
fn a_mask_must_be_one_run() {
    let device = Device::flex();
    let ids = [vec![9u32, 1, 2, 9], vec![3, 4, 5, 6]];
    let mask = [vec![false, true, true, false], vec![true; 4]];
    let batch = TokenBatch::from_mask(&ids, &mask, &device).unwrap();
    assert_eq!(batch.host_ids(0), [1, 2]);
    assert_eq!(batch.row_start(0), 1);
    let broken = [vec![true, false, true, true], vec![true; 4]];
    assert!(TokenBatch::from_mask(&ids, &broken, &device).is_err());
    assert!(TokenBatch::from_mask(&ids, &mask[..1], &device).is_err());
    assert!(batch.check_ids(7).is_ok());
    assert!(
        batch
            .check_ids(6)
            .unwrap_err()
            .to_string()
            .contains("prompt 1: holds token 6")
    );
}
