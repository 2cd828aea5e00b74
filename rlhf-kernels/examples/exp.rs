#![allow(unsafe_code, clippy::all)]
use rlhf_kernels::decode::{PackedMatrix, Side, Storage};
use std::time::Instant;
fn t(mut f: impl FnMut()) -> f64 {
    for _ in 0..3 {
        f();
    }
    let mut best = f64::MAX;
    let _ = &best;
    let mut v = vec![];
    for _ in 0..40 {
        let s = Instant::now();
        f();
        v.push(s.elapsed().as_secs_f64());
    }
    v.sort_by(f64::total_cmp);
    best = best.min(v[v.len() / 2]);
    best
}
fn main() {
    rayon::ThreadPoolBuilder::new()
        .num_threads(1)
        .build_global()
        .unwrap();
    for (m, k, n) in [
        (256, 128, 128),
        (256, 128, 344),
        (256, 344, 128),
        (256, 256, 256),
        (256, 256, 688),
        (256, 688, 256),
        (256, 256, 2048),
        (512, 512, 1376),
    ] {
        let x: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.37).sin()).collect();
        let w: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.11).sin()).collect();
        let dy: Vec<f32> = (0..m * n).map(|i| (i as f32 * 0.23).sin()).collect();
        let mut y = vec![0f32; m * n];
        let mut dw = vec![0f32; k * n];
        let mut dx = vec![0f32; m * k];
        let p = PackedMatrix::new(k, &[Side::Columns(&w)], Storage::F32);
        let fl = 2.0 * (m * k * n) as f64 / 1e9;
        let g = |dst: &mut [f32],
                 m: usize,
                 n: usize,
                 k: usize,
                 a: &[f32],
                 acs: isize,
                 ars: isize,
                 b: &[f32],
                 bcs: isize,
                 brs: isize| unsafe {
            gemm::gemm(
                m,
                n,
                k,
                dst.as_mut_ptr(),
                1,
                n as isize,
                false,
                a.as_ptr(),
                acs,
                ars,
                b.as_ptr(),
                bcs,
                brs,
                1.0,
                1.0f32,
                false,
                false,
                false,
                gemm::Parallelism::None,
            )
        };
        let a = t(|| g(&mut y, m, n, k, &x, 1, k as isize, &w, 1, n as isize));
        let b = t(|| p.product(&x, &mut y));
        let c = t(|| g(&mut dx, m, k, n, &dy, 1, n as isize, &w, n as isize, 1));
        let d = t(|| g(&mut dw, k, n, m, &x, k as isize, 1, &dy, 1, n as isize));
        let pk = t(|| {
            std::hint::black_box(PackedMatrix::new(k, &[Side::Columns(&w)], Storage::F32));
        });
        println!(
            "{m}x{k}x{n}: fwd gemm {:.1} packed {:.1} | dx gemm {:.1} | dw gemm {:.1} | packing {:.0} us of {:.0}",
            fl / a,
            fl / b,
            fl / c,
            fl / d,
            pk * 1e6,
            b * 1e6
        );
    }
}
