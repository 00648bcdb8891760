//! Compares the networks with scalar loops.

use super::*;

fn network(members: usize, normalized_features: bool) -> Mlp {
    let shape = Shape {
        members,
        inputs: 3,
        hidden: vec![5, 7],
        outputs: 2,
        activation: Activation::Silu,
        layer_norm: false,
        normalized_features,
        hidden_norms: vec![],
    };
    Mlp::new(shape, Init::TruncatedNormal, &Stream::new(1, "test/mlp"), &Device::flex())
}

fn input(members: usize, rows: usize) -> Vec<f32> {
    Stream::new(2, "test/mlp/input").normals(0, members * rows, 3)
}

/// The network's output for one row, in scalar f64 loops.
fn by_hand(net: &Mlp, member: usize, x: &[f32]) -> Vec<f64> {
    let mut x: Vec<f64> = x.iter().map(|&x| f64::from(x)).collect();
    let all = tensors::to_vec(net.slot().get().clone());
    let row = net.layout.member(&all, member);
    for (i, layer) in net.layout.layers.iter().enumerate() {
        let last = i + 1 == net.layout.depth();
        let (inputs, outputs) = (layer.inputs, layer.outputs);
        let (w, b) = (&row[layer.weight..], &row[layer.bias..]);
        if last && net.layout.shape().normalized_features {
            let norm = x.iter().map(|x| x * x).sum::<f64>().sqrt().max(1e-12);
            x.iter_mut().for_each(|x| *x /= norm);
        }
        x = (0..outputs)
            .map(|o| {
                let sum: f64 = (0..inputs).map(|k| x[k] * f64::from(w[k * outputs + o])).sum();
                let y = sum + f64::from(b[o]);
                if last { y } else { y / (1.0 + (-y).exp()) }
            })
            .collect();
    }
    x
}

#[test]
fn it_agrees_with_scalar_loops_for_every_member_and_row() {
    for (members, rows, normalized) in [(1, 1, false), (3, 4, false), (7, 5, true), (2, 1, true)] {
        let net = network(members, normalized);
        let x = input(members, rows);
        let y = tensors::to_vec(net.forward(tensors::from_vec(x.clone(), [members, rows, 3], &Device::flex())));
        for member in 0..members {
            for row in 0..rows {
                let at = member * rows + row;
                for (o, want) in by_hand(&net, member, &x[at * 3..][..3]).iter().enumerate() {
                    let got = f64::from(y[at * 2 + o]);
                    assert!((got - want).abs() < 1e-5, "member {member}, row {row}: {got}, expected {want}");
                }
            }
        }
    }
}

#[test]
fn a_shared_input_is_shown_to_every_member() {
    let net = network(3, false);
    let x = tensors::from_vec(input(1, 4), [1, 4, 3], &Device::flex());
    let shared = tensors::to_vec(net.forward(x.clone()));
    let repeated = tensors::to_vec(net.forward(x.repeat(&[3, 1, 1])));
    assert_eq!(shared, repeated);
}

#[test]
fn normalised_features_of_a_dead_row_have_a_finite_gradient() {
    let x = Tensor::<3>::zeros([1, 2, 4], &Device::flex()).autodiff().require_grad();
    let gradients = unit_rows(x.clone()).sum().backward();
    assert!(tensors::to_vec(x.grad(&gradients).unwrap()).iter().all(|g| g.is_finite()));
}
