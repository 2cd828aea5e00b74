use burn::tensor::{Device, Tensor, TensorData};
use std::time::Instant;
use rlhf_kernels::*;
fn bench(name: &str, n: usize, mut f: impl FnMut()) {
    f();
    let mut best = f64::MAX;
    for _ in 0..10 { let t = Instant::now(); for _ in 0..n { f() } best = best.min(t.elapsed().as_secs_f64() / n as f64); }
    println!("{name}: {:.1} us", best * 1e6);
}
#[test]
fn parts() {
    let d = Device::flex();
    let r = |s: [usize; 2]| { let mut r = rlhf_random::Rng::new(1); let v: Vec<f32> = (0..s[0]*s[1]).map(|_| r.normal() as f32).collect(); Tensor::<2>::from_data(TensorData::new(v, s), &d) };
    for n in [64usize, 2048] {
        let x = r([n, 128]); let y = r([n, 344]);
        let (wq, wg, wd, wh) = (r([128, 128]), r([128, 344]), r([344, 128]), r([128, 1024]));
        bench("mm 128x128", 20, || { std::hint::black_box(x.clone().matmul(wq.clone())); });
        bench("mm 128x344", 20, || { std::hint::black_box(x.clone().matmul(wg.clone())); });
        bench("mm 344x128", 20, || { std::hint::black_box(y.clone().matmul(wd.clone())); });
        bench("mm 128x1024", 10, || { std::hint::black_box(x.clone().matmul(wh.clone())); });
        let w = Tensor::<1>::ones([128], &d);
        bench("rms", 20, || { std::hint::black_box(rms_norm(x.clone(), w.clone(), 1e-5)); });
        bench("swiglu", 20, || { std::hint::black_box(swiglu(y.clone(), y.clone())); });
        bench("add", 20, || { std::hint::black_box(x.clone() + x.clone()); });
        let (b, t) = if n == 64 { (64, 1) } else { (64, 32) };
        let q = x.clone().reshape([b, t, 4, 32]);
        let tables = RopeTables::new(&vec![(0..t).collect(); b], 32, 1e4, &d);
        bench("rope", 20, || { std::hint::black_box(rope(q.clone(), &tables)); });
        let mut k = r([64 * 72, 128]).reshape([64, 72, 4, 32]);
        let v = k.clone() * 0.5;
        let past = if t == 1 { 55 } else { 0 };
        let span = AttentionSpan::causal(b, t, past, &d);
        bench("attention", 10, || { std::hint::black_box(attention(q.clone(), k.clone(), v.clone(), &span)); });
        bench("assign", 20, || { k.inplace(|k| k.slice_assign([0..b, past..past + t, 0..4, 0..32], q.clone())); });
        bench("select", 20, || { let i = Tensor::<1, burn::tensor::Int>::from_data(TensorData::new(vec![5i32; n], [n]), &d); std::hint::black_box(wh.clone().reshape([1024, 128]).select(0, i)); });
        println!("--");
    }
}
