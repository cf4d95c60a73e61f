package main

import (
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const document = "# A walk\n\n```sh\nnot a step\n```\n\n```console\n$ echo one; echo rng-7c5dddcb4-8p4v5 33 %\none\nrng-abcdef-00000 34 %\n" +
	"$ cat <<end\n> two\n> end\ntwo\n```\n\n```\nnor this\n```\n\n```console\n$ true\n$ x=3; seq $x\n…\n3\n```\n"

func TestTheStepsAreThoseOfConsoleBlocks(t *testing.T) {
	want := []step{
		{command: "echo one; echo rng-7c5dddcb4-8p4v5 33 %", want: []string{"one", "rng-abcdef-00000 34 %"}},
		{command: "cat <<end\ntwo\nend", want: []string{"two"}},
		{command: "true"},
		{command: "x=3; seq $x", want: []string{"…", "3"}},
	}
	if diff := cmp.Diff(want, parse(document), cmp.AllowUnexported(step{})); diff != "" {
		t.Error(diff)
	}
}

func TestAWalkThatGoesAsTheDocumentSays(t *testing.T) {
	var out strings.Builder
	if err := walk(t.Context(), &out, "", parse(document)); err != nil {
		t.Fatal(err)
	}
	if !strings.HasSuffix(out.String(), "4 of 4 steps were as the document says\n") {
		t.Error(out.String())
	}
}

func TestAWalkThatDoesNot(t *testing.T) {
	for name, c := range map[string]struct{ before, steps, want string }{
		"another text":     {steps: "$ echo two\none", want: "$ echo two\n--- the document says\none\n--- it printed\ntwo"},
		"a line more":      {steps: "$ seq 2\n1", want: "it printed"},
		"a line less":      {steps: "$ seq 1\n1\n2", want: "it printed"},
		"not zero":         {steps: "$ echo 3 failed\n0 failed", want: "it printed"},
		"zero":             {steps: "$ echo 0 failed\n3 failed", want: "it printed"},
		"not the whole":    {steps: "$ echo 99 %\n100 %", want: "it printed"},
		"a step that ends": {steps: "$ false\n$ echo two\ntwo", want: "a step failed: exit status 1"},
		"the one before":   {before: "false", steps: "$ true", want: "a step failed: exit status 1"},
	} {
		err := walk(t.Context(), io.Discard, c.before, parse("```console\n"+c.steps+"\n```\n"))
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := walk(t.Context(), io.Discard, "", nil); err == nil {
		t.Error("a document without a step passes")
	}
}

func TestWhatChangesFromRunToRunMay(t *testing.T) {
	for _, c := range [][2]string{
		{`"traceId": "53923cc0c645d04417b573dab29436fd"`, `"traceId": "5618a2c1228fa831715f5ba5d89658d3"`},
		{"  rng-878795f76-qsmbg   465   9 %", "  rng-549fb8ddd7-pncp9  2483  46 %"},
		{"0.97 of it", "1.00 of it"},
		{"  100  11 %", "  170  19 %"},
	} {
		if compare(step{want: c[:1]}, c[1:]) != nil {
			t.Errorf("%q is not taken for %q", c[1], c[0])
		}
	}
}

func TestAnyLinesMayBeNone(t *testing.T) {
	for want, got := range map[string]string{"…": "", "a …": "a", "… b": "b", "… b …": "a b c b", "a … a": "a a", "… … x": "x"} {
		if !match(strings.Fields(want), strings.Fields(got)) {
			t.Errorf("%q is not taken for %q", got, want)
		}
	}
	for want, got := range map[string]string{"a … a": "a", "… b": "b c", "": "a", "a": ""} {
		if match(strings.Fields(want), strings.Fields(got)) {
			t.Errorf("%q is taken for %q", got, want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(document)
	f.Add("```console\n> x\ny\n$ \n```")
	f.Fuzz(func(t *testing.T, text string) {
		for _, s := range parse(text) {
			if compare(s, s.want) != nil {
				t.Errorf("%q is not like itself", s.want)
			}
		}
	})
}
