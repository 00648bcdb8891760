"""Tests of `prose.py`: `python3 -m unittest discover benches`."""

import contextlib
import io
import unittest

import prose

SOURCE = '''//! What a module page says.
//!
//! It is not in a string: "the same".

/// Whose doc line is not counted, and
/// who is small here.
pub fn short<'a>(text: &'a str) -> [u8; 2] {
    let brace = '{'; // the same at the end of a line
    let raw = r#"unsafe { } // the same, in a string"#;
    let quote = '\\''; /* a block /* in a block */ unsafe { } */
    [text.len() as u8; 2]
}

struct Counting;

// SAFETY: it counts alone.
unsafe impl Send for Counting {}

impl Drop for Counting {
    unsafe fn of_a_trait(&mut self) {}
}

/// Reads a number.
///
/// # Safety
/// The pointer is valid.
#[inline]
unsafe fn documented(p: *const u8) -> u8 {
    // SAFETY: the caller's promise.
    unsafe { *p }
}

/// Who reads a number.
unsafe extern "C" fn undocumented(p: *const u8) -> u8 {
    let value = unsafe { *p };

    // SAFETY: above the statement, over the attribute
    // and over its second line.
    #[allow(unused)]
    let other = std::convert::identity(
        unsafe { *p },
    );
    value
}

unsafe extern "C" {
    fn foreign();
}

#[cfg(test)]
mod tests {
    /// What a test does is The Same.
    fn test() {}
}
'''


def counted(sources: dict[str, str]) -> tuple[dict[str, int], dict[str, int]]:
    """Returns the numbers of production code and of tests, without those that are 0."""
    production, tests = prose.counted(sources)
    return tuple({row.strip(): n for row, n in counts.numbers.items() if n} for counts in (production, tests))


class Prose(unittest.TestCase):
    """Counts of Rust sources."""

    maxDiff = None

    def test_a_source_is_counted_by_its_comments_and_its_code_and_never_by_its_strings(self) -> None:
        production, tests = counted({"crates/a/src/lib.rs": SOURCE})
        self.assertEqual(
            production,
            {
                "lines": 49,
                "lines of comments": 14,
                "doc lines that open with What/Who": 2,
                'comments that say "the same"': 2,
                "unsafe blocks": 4,
                "without SAFETY": 1,
                "unsafe functions": 2,
                "without # Safety": 1,
                "functions": 4,
                "files": 1,
            },
        )
        self.assertEqual(
            tests,
            {
                "lines": 5,
                "lines of comments": 1,
                "doc lines that open with What/Who": 1,
                'comments that say "the same"': 1,
                "functions": 1,
                "files": 1,
            },
        )

    def test_long_functions_and_files_are_found_and_files_of_tests_apart(self) -> None:
        text = "".join("fn long(\n    x: u8,\n) {\n" + "    x;\n" * (lines - 4) + "}\n" for lines in (60, 61, 101))
        for path, side in (("crates/a/src/b.rs", 0), ("crates/a/tests/b.rs", 1), ("crates/a/src/b/tests.rs", 1)):
            numbers = counted({path: text})
            self.assertEqual(
                numbers[side], {"lines": 222, "functions": 3, "over 60 lines": 2, "over 100 lines": 1, "files": 1}, path
            )
            self.assertEqual(numbers[1 - side], {})
        self.assertNotIn("over 300 lines", counted({"benches/src/a.rs": "\n" * 300})[0])
        self.assertEqual(counted({"benches/src/a.rs": "\n" * 301})[0]["over 300 lines"], 1)

    def test_comments_on_adjacent_lines_are_one(self) -> None:
        for text, count in (("// the same\n// the same\n", 1), ("// the same\n\n// the same\n", 2), ("// the\n// same\n", 1)):
            self.assertEqual(counted({"a.rs": text})[0].get('comments that say "the same"'), count, text)

    def test_the_table_has_a_pair_of_columns_for_every_version(self) -> None:
        text = prose.table({"now": prose.counted({"crates/a/src/lib.rs": SOURCE}), "then": prose.counted({})})
        self.assertIn("| | now | now tests | then | then tests |", text)
        self.assertIn("| unsafe blocks | 4 | 0 | 0 | 0 |\n| – without SAFETY | 1 | 0 | 0 | 0 |\n", text)

    @unittest.skipUnless((prose.REPOSITORY / ".git").exists(), "the sources are not in a git repository")
    def test_this_repository_is_counted_as_it_is_and_at_a_commit(self) -> None:
        for words in ([], ["--at", "HEAD"]):
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                prose.main(words)
            lines = printed.getvalue().splitlines()
            self.assertEqual(len(lines), 2 + len(prose.ROWS))
            self.assertGreater(int(lines[2].split("|")[2]), 10_000)
        with self.assertRaises(SystemExit):
            prose.main(["--at", "no-such-commit"])


if __name__ == "__main__":
    unittest.main()
