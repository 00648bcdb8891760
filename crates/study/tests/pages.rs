//! Every study has a page with its figure in `docs/studies`, and the page has every quantity.

use std::fs;
use std::path::Path;

use foresee_study::studies::STUDIES;

#[test]
fn every_study_has_a_page_with_its_quantities_and_its_figure() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/studies");
    let index = fs::read_to_string(folder.join("README.md")).unwrap();
    for study in STUDIES {
        let page = fs::read_to_string(folder.join(format!("{}.md", study.name))).unwrap();
        for quantity in study.quantities {
            assert!(page.contains(&format!("| `{}` |", quantity.name)), "{}: {}", study.name, quantity.name);
        }
        assert!(page.contains(&format!("({}.svg)", study.name)), "{} has no figure", study.name);
        assert!(page.contains(&format!("foresee study run {} --tier smoke", study.name)), "{}", study.name);
        assert!(index.contains(&format!("({}.md)", study.name)), "the index has no {}", study.name);
        assert!(fs::read_to_string(folder.join(format!("{}.svg", study.name))).unwrap().starts_with("<svg "));
    }
}
