"""Tests of what computes and writes the tables: python3 scripts/bench/tests.py."""

import subprocess
import sys
import unittest
import xml.etree.ElementTree as xml

import plot
import table
from document import replace
from runs import Output, Run, failure, first_program, number, parse


def output(text):
    return Output(parse(text.replace(" ", "\t")))


class Parsing(unittest.TestCase):
    def test_reads_figures_reasons_and_failures_and_nothing_else(self):
        figures = parse("getppid\t110.5\tns\tlower\r\nnoise 3\nsockets\t-\tno sockets yet\nfork\tfailed\nbad\tx\tns\tlower\n")
        self.assertEqual(figures["getppid"].value, 110.5)
        self.assertEqual(figures["sockets"].reason, "no sockets yet")
        self.assertEqual(figures["fork"].reason, "failed")
        self.assertEqual(len(figures), 3)

    def test_finds_the_moment_of_the_first_program_in_both_kernels_messages(self):
        self.assertEqual(first_program("[    0.008400] running init as the first process\r\n"), 8400)
        self.assertEqual(first_program("[    1.000002] Run /init as init process\n"), 1000002)
        self.assertEqual(number("text\n12345\n"), 12345)


class Medians(unittest.TestCase):
    def test_takes_the_median_of_each_kernel_and_their_ratio(self):
        linux = [output(f"getppid {value} ns lower") for value in (430, 437, 900)]
        lichen = [output(f"getppid {value} ns lower") for value in (110, 90, 100)]
        (line,) = table.lines(linux, lichen)
        self.assertEqual((line.linux, line.lichen), (437, 100))
        self.assertAlmostEqual(line.ratio, 100 / 437)

    def test_a_figure_that_one_run_lacks_has_no_median(self):
        (line,) = table.lines([output("stat 4 ns lower")], [output("stat 1 ns lower"), output("stat failed")])
        self.assertIsNone(line.lichen)
        self.assertEqual(line.reason, "failed")

    def test_shares_have_no_ratio(self):
        (line,) = table.lines([output("hogs 1.0 % lower")], [output("hogs 2.0 % lower")])
        self.assertIsNone(line.ratio)


class Goals(unittest.TestCase):
    def verdict(self, name, linux, lichen):
        return table.Line(name, "ns", linux, lichen).verdict

    def test_tells_met_from_missed_and_says_by_how_much(self):
        self.assertEqual(self.verdict("getppid", 437, 145), "yes")
        self.assertEqual(self.verdict("pipe-same-core", 12000, 8000), "**no**, 2.0 times that")
        self.assertEqual(self.verdict("stat", 4000, 2000), "yes")
        self.assertEqual(self.verdict("clock_gettime", 55, 56), "**no**, by 1.8 %")
        self.assertEqual(self.verdict("spread-16-released-hogs", 300, 50), "yes")
        self.assertEqual(self.verdict("wake-latency-p99", 10, 11), "**no**, by 10.0 %")

    def test_says_nothing_without_a_goal_or_a_figure(self):
        self.assertEqual(self.verdict("wake-latency-p50", 10, 11), "")
        self.assertEqual(self.verdict("getppid", None, 100), "")
        self.assertEqual(self.verdict("getppid", 437, None), "")


class Writing(unittest.TestCase):
    def test_replaces_only_what_stands_between_the_marks(self):
        text = "a\n<!-- paths: written by just bench -->\nold\n<!-- end of paths -->\nb\n"
        self.assertEqual(replace(text, "paths", "new\n"), text.replace("old", "new"))
        with self.assertRaises(SystemExit):
            replace(text, "walls", "new\n")

    def test_the_table_has_a_cell_for_each_column(self):
        text = table.comparison([table.Line("getppid", "ns", 437.0, None, reason="failed")])
        self.assertEqual({line.count("|") for line in text.splitlines()}, {8})
        self.assertIn("failed", text)

    def test_the_plot_is_xml_with_a_bar_for_each_ratio(self):
        lines = [table.Line("a<b", "ns", 10, 3), table.Line("slow", "ns", 10, 30), table.Line("none", "ns", None, 1)]
        root = xml.fromstring(plot.ratios(lines))
        bars = [element.get("class") for element in root.iter() if element.tag.endswith("rect")]
        self.assertEqual(bars, ["bar", "slower"])


class Failing(unittest.TestCase):
    def test_a_failed_run_says_which_why_how_far_and_how_to_repeat_it(self):
        done = subprocess.CompletedProcess([], 124, "getppid\t1\tns\tlower\n", "qemu-runner: hang: no end within 9 seconds\n")
        text = failure(Run("linux", "icount", 2, 42), done)
        for part in ("linux", "seed 42", "hang: no end", "last row it measured is getppid", "--icount 42"):
            self.assertIn(part, text)


if __name__ == "__main__":
    result = unittest.main(exit=False, verbosity=0).result
    failed = len(result.failures) + len(result.errors)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(bool(failed))
