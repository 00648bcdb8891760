//! The terminal's table and the page.

mod common;

use std::collections::BTreeSet;

use common::{Folder, committed, quick, read_all, report, write_group};
use foresee_report::{Options, compare};

const CURVE: [(u64, f64); 3] = [(100, -1000.0), (200, -400.0), (300, -150.0)];

#[test]
fn the_table_shows_values_above_their_intervals() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle", &CURVE, &[0.0; 5]);
    write_group(root.path(), "T", "vagram", &CURVE, &[50.0; 5]);
    let table = report(root.path(), &quick()).terminal(100);
    let want = "\
`vagram` reaches more than `mle`: P = 1.00 [1.00, 1.00], 5 seeds each.

T: returns at 300 steps; threshold -188
group   seeds          last          best           IQM      P(> mle)    steps to      seconds to
─────────────────────────────────────────────────────────────────────────────────────────────────
mle         5          -150          -150          -150      baseline         300           3.0 s
               [-150, -150]  [-150, -150]  [-150, -150]                [300, 300]  [3.0 s, 3.0 s]
vagram      5          -100          -100          -100          1.00         300           3.0 s
               [-100, -100]  [-100, -100]  [-100, -100]  [1.00, 1.00]  [300, 300]  [3.0 s, 3.0 s]
";
    assert!(table.starts_with(want), "{table}");
}

#[test]
fn tables_fit_into_100_columns_and_long_names_are_cut() {
    let root = tempfile::tempdir().unwrap();
    let keys = "[agent]\na_key_with_a_very_long_name_indeed_and_more_of_it = ";
    let points = [(1_000_000, -12_345.5), (2_000_000, 54_321.5)];
    for seed in 0..6 {
        let points = points.map(|(step, value)| (step, value + 1234.5 * seed as f64));
        for value in ["1", "2"] {
            let config = format!("{keys}{value}");
            let root = root.path().join(value);
            Folder { task: "Ant-v5", loss: "mle", seed, config: &config, points: &points }.write(&root);
        }
    }
    let report = report(root.path(), &quick());
    let table = report.terminal(100);
    assert!(table.lines().all(|line| line.chars().count() <= 100), "{table}");
    assert!(table.contains("a_key_with") && table.contains("P(> baseline)") && table.contains("2 M"), "{table}");
    // At 72 columns, columns are left out as well.
    let narrow = report.terminal(72);
    assert!(narrow.lines().all(|line| line.chars().count() <= 72), "{narrow}");
    let columns = |table: &str| {
        let header = table.lines().find(|line| line.starts_with("group")).unwrap();
        header.replace("  ", "\n").lines().map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect()
    };
    let wide: Vec<String> = columns(&report.terminal(160));
    assert_eq!(wide, ["group", "seeds", "last", "best", "IQM", "P(> baseline)", "steps to", "seconds to"]);
    let narrow: Vec<String> = columns(&narrow);
    assert_eq!(narrow, ["group", "seeds", "IQM", "P(> baseline)", "steps to"]);
    // The ends of names that are cut distinguish them.
    assert!(table.contains("_of_it=1 ") && table.contains("_of_it=2 "), "{table}");
}

#[test]
fn one_seed_has_no_interval() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle", &CURVE, &[0.0]);
    let alone = report(root.path(), &quick());
    let want =
        "`mle` reaches a mean return of -150 at 300 steps on T, 1 seed. There is no other group to compare it with.";
    assert_eq!(alone.summary, [want]);
    write_group(root.path(), "T", "vagram", &CURVE, &[50.0, 60.0, 70.0]);
    // One of 27 resamples of three seeds has the smallest value only, which is more than 2.5 %.
    let report = report(root.path(), &Options::default());
    let table = report.terminal(100);
    let want = "\
group   seeds         last         best          IQM  P(> mle)    steps to      seconds to
──────────────────────────────────────────────────────────────────────────────────────────
mle         1         -150         -150         -150  baseline         300           3.0 s
vagram      3          -90          -90          -90      1.00         300           3.0 s
               [-100, -80]  [-100, -80]  [-100, -80]            [300, 300]  [3.0 s, 3.0 s]
";
    assert!(table.contains(want), "{table}");
    let page = report.html();
    assert!(page.contains("<span>−150</span></td>") && page.contains("<small>[−100, −80]</small>"), "{page}");
}

#[test]
fn hyphens_of_names_are_not_minus_signs() {
    let root = tempfile::tempdir().unwrap();
    write_group(root.path(), "T", "mle-2", &CURVE, &[0.0, 1.0]);
    write_group(root.path(), "T", "mse", &CURVE, &[0.0, 1.0]);
    let page = report(root.path(), &quick()).html();
    assert!(page.contains("<th>P(above mle-2)</th>") && !page.contains("mle−2"), "{page}");
}

#[test]
fn a_page_needs_no_network_and_no_scripts_and_its_elements_are_closed() {
    let page = compare(&read_all(&[&committed()]), &quick()).unwrap().html();
    for word in ["<script", "http:", "https:", "url(", "<link", "@import", "src="] {
        assert!(!page.contains(word), "{word}");
    }
    assert!(!page.contains("NaN") && !page.contains("inf,") && !page.contains("Infinity"));
    let mut open = Vec::new();
    for part in page.split('<').skip(1) {
        let (tag, _) = part.split_once('>').expect("every tag ends");
        let name = tag.split([' ', '\n', '/']).find(|name| !name.is_empty()).unwrap();
        if let Some(closed) = tag.strip_prefix('/') {
            assert_eq!(open.pop(), Some(closed));
        } else if !tag.ends_with('/') && !["!doctype", "meta", "wbr"].contains(&name) {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn names_from_files_are_escaped() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("a.csv");
    let rows = "\"<script>alert(1)</script>\",\"a & \"\"b\"\"\",0,return,1,2\n";
    std::fs::write(&file, format!("exp_name,env_name,seed,metric,env_step,value\n{rows}")).unwrap();
    let page = compare(&read_all(&[&file]), &quick()).unwrap().html();
    assert!(!page.contains("<script"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("a &amp; &quot;b&quot;"));
}

#[test]
fn groups_differ_by_colour_and_by_dash_pattern() {
    let root = tempfile::tempdir().unwrap();
    let losses: Vec<String> = (0..12).map(|n| format!("loss{n:02}")).collect();
    for loss in &losses {
        write_group(root.path(), "T", loss, &CURVE, &[0.0, 1.0]);
    }
    let page = report(root.path(), &quick()).html();
    let legend = page.split("<ul class=\"legend\">").nth(1).unwrap().split("</ul>").next().unwrap();
    let swatches: BTreeSet<&str> =
        legend.split("<path ").skip(1).map(|part| part.split("/>").next().unwrap()).collect();
    assert_eq!(swatches.len(), losses.len());
}
