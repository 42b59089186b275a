package bisect

import (
	"errors"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/expr-lang/expr"
	"github.com/expr-lang/expr/ast"
	"github.com/expr-lang/expr/file"
	"github.com/expr-lang/expr/vm"
	"golang.org/x/sys/unix"

	"github.com/blockrig/blockrig/harness/text"
	"github.com/blockrig/blockrig/scenarios"
)

// An Expr is a condition on the outcome of a trial, for --bad-when, in
// [Expr's language] without its functions:
//
//	verdict == hang || verdict == eio && errno in (EIO, ENOSPC)
//	title =~ "^WARNING in scsi_" && !(also == degraded)
//
// The fields are verdict, also, phase, step, errno and title. Besides what
// Expr has, a word needs no quotes, =~ and !~ stand for matches and not
// matches (a regular expression, RE2, that may match anywhere), and a list may
// stand in parentheses. In "…", a backslash is itself but for \" and \\.
// also and title are sets: a test holds when one of them passes it; != and !~
// when none is equal or matches. Verdicts, phases and errnos must be ones that
// exist. A trial without a verdict (an error, a kernel that did not boot)
// never comes before an expression.
//
// [Expr's language]: https://expr-lang.org/docs/language-definition
type Expr struct {
	text    string
	program *vm.Program
	steps   []stepTest
}

// A stepTest is a test of a condition on the step, whose values depend on the
// scenario.
type stepTest struct {
	passes func(step string) bool
	at     int   // place of its value in the tree's text
	err    error // where none passes
}

const (
	exprBytes = 4096 // of a text
	exprNodes = 300  // of its syntax tree
)

// exprOutcome is an outcome as conditions see it.
type exprOutcome struct {
	Verdict string   `expr:"verdict"`
	Also    []string `expr:"also"`
	Phase   string   `expr:"phase"`
	Step    string   `expr:"step"`
	Errno   string   `expr:"errno"`
	Titles  []string `expr:"title"`
}

func toExprOutcome(o Outcome) exprOutcome {
	return exprOutcome{string(o.Verdict), texts(o.Also), o.Phase, o.Step, o.Errno, o.Titles}
}

// exprFields are the fields that a condition can ask for, and the values that
// there are; nil: any.
var exprFields = map[string][]string{
	"verdict": texts(scenarios.Verdicts), "also": texts(scenarios.Verdicts), "phase": scenarios.Phases, "step": nil, "errno": errnos(), "title": nil,
}

func texts[T ~string](list []T) []string {
	out := make([]string, len(list))
	for i, v := range list {
		out[i] = string(v)
	}
	return out
}

// errnos are the names of errno(3); the largest of Linux is 133 (EHWPOISON).
func errnos() (names []string) {
	for n := range unix.Errno(134) {
		if name := unix.ErrnoName(n); name != "" {
			names = append(names, name)
		}
	}
	return names
}

// ParseExpr reads a condition. Errors are one line and name the column,
// counted from 1.
func ParseExpr(source string) (*Expr, error) {
	if len(source) > exprBytes {
		return nil, fmt.Errorf("expression: it has %d bytes, more than the %d that one can have", len(source), exprBytes)
	}
	words := readWords(source)
	tests := &exprTests{}
	program, err := expr.Compile(words.text,
		expr.Env(exprOutcome{}), expr.AsBool(), expr.DisableAllBuiltins(), expr.MaxNodes(exprNodes), expr.Patch(tests))
	switch parse, ok := errors.AsType[*file.Error](err); {
	case tests.err != nil: // what the compiler says follows from it
		return nil, fmt.Errorf("expression, column %d: %w", words.column(tests.at), tests.err)
	case ok:
		return nil, fmt.Errorf("expression, column %d: %s", words.column(parse.From), text.OneLine(parse.Message))
	case err != nil:
		return nil, fmt.Errorf("expression: it tests nothing (%s); want such as errno == EIO", text.OneLine(err.Error()))
	}
	e := &Expr{text: source, program: program, steps: tests.steps}
	for i, t := range e.steps {
		e.steps[i].err = fmt.Errorf("expression, column %d: %w", words.column(t.at), t.err)
	}
	return e, nil
}

// CheckSteps refuses a condition with a test that none of a scenario's steps
// passes.
func (e *Expr) CheckSteps(steps []string) error {
	for _, t := range e.steps {
		if !slices.ContainsFunc(steps, t.passes) {
			return fmt.Errorf("%w; there are %s", t.err, strings.Join(steps, ", "))
		}
	}
	return nil
}

func (e *Expr) String() string { return e.text }

// Holds tells whether the condition is true of an outcome.
func (e *Expr) Holds(o Outcome) bool {
	is, err := vm.Run(e.program, toExprOutcome(o))
	if err != nil {
		panic(fmt.Sprintf("%s: %v", e.text, err)) // it only compares texts
	}
	return is.(bool)
}

// exprWords is a condition with the words, texts and signs that are ours put
// into Expr's form.
type exprWords struct {
	text   string
	starts [][2]int // of each word: its place in text, and the user's column
}

var (
	exprWord   = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|=~|!~|[()]|[\pL\pN_.:/+-]+`)
	exprPlain  = regexp.MustCompile(`^[\pL_][\pL\pN_]*$`)
	exprEscape = regexp.MustCompile(`\\(["\\])`)
)

func readWords(text string) exprWords {
	var b strings.Builder
	var w exprWords
	at, column := 0, 1 // in runes
	put := func(from, to string) {
		w.starts = append(w.starts, [2]int{at, column})
		b.WriteString(to)
		at += utf8.RuneCountInString(to)
		column += utf8.RuneCountInString(from)
	}
	end, list, before := 0, false, ""
	for _, m := range exprWord.FindAllStringIndex(text, -1) {
		between, word := text[end:m[0]], text[m[0]:m[1]]
		put(between, between)
		to := word
		switch {
		case word == "=~":
			to = " matches "
		case word == "!~":
			to = " not matches "
		case word == "(" && before == "in" && strings.TrimSpace(between) == "":
			to, list = "[", true
		case word == ")" && list:
			to, list = "]", false
		case word == "(" || word == ")":
		case word[0] == '"':
			to = strconv.Quote(exprEscape.ReplaceAllString(word[1:len(word)-1], "$1"))
		case !exprPlain.MatchString(word):
			to = strconv.Quote(word)
		}
		put(word, to)
		end, before = m[1], word
	}
	put(text[end:], text[end:])
	put("", "")
	w.text = b.String()
	return w
}

// column is the user's for a place in the text.
func (w exprWords) column(at int) int {
	i, ok := slices.BinarySearchFunc(w.starts, at, func(s [2]int, at int) int { return s[0] - at })
	if !ok {
		i--
	}
	next := w.starts[min(i+1, len(w.starts)-1)][1]
	return min(w.starts[i][1]+at-w.starts[i][0], max(next-1, w.starts[i][1]))
}

// exprTests makes the tests of a syntax tree, such as "errno == EIO", tests of
// texts, and refuses whatever else but their combinations.
type exprTests struct {
	err   error
	at    int
	steps []stepTest
}

func (t *exprTests) fail(n ast.Node, format string, args ...any) {
	if t.err == nil {
		t.err, t.at = fmt.Errorf(format, args...), n.Location().From
	}
}

// Visit implements ast.Visitor. Leaves come before what they are part of.
func (t *exprTests) Visit(node *ast.Node) {
	switch n := (*node).(type) {
	case *ast.IdentifierNode, *ast.StringNode, *ast.IntegerNode, *ast.ArrayNode:
	case *ast.UnaryNode:
		if n.Operator != "!" && n.Operator != "not" {
			t.fail(n, "%q can't stand here", n.Operator)
		}
	case *ast.BinaryNode:
		switch n.Operator {
		case "&&", "||", "and", "or":
		case "==", "!=", "in", "matches", "contains", "startsWith", "endsWith":
			t.test(node, n)
		default:
			t.fail(n, "%q is no test; there are ==, !=, =~, !~, in, contains, startsWith and endsWith", n.Operator)
		}
	default:
		t.fail(n, "only tests such as errno == EIO, joined with &&, || and !, can stand here")
	}
}

func (t *exprTests) test(node *ast.Node, n *ast.BinaryNode) {
	// "!verdict == hang" is read as "!(verdict == hang)".
	if not, ok := n.Left.(*ast.UnaryNode); ok {
		n.Left = not.Node
		var inner ast.Node = n
		t.test(&inner, n)
		not.Node = inner
		*node = not
		return
	}
	field, ok := n.Left.(*ast.IdentifierNode)
	if !ok {
		t.fail(n.Left, "%s is no field; there are verdict, also, phase, step, errno and title", n.Left)
		return
	}
	known, ok := exprFields[field.Value]
	if !ok {
		t.fail(field, "%q is no field; there are verdict, also, phase, step, errno and title%s", field.Value, text.DidYouMean(field.Value, slices.Sorted(maps.Keys(exprFields))))
		return
	}
	list, ok := n.Right.(*ast.ArrayNode)
	switch {
	case n.Operator == "in" && (!ok || len(list.Nodes) == 0):
		t.fail(n.Right, "after in comes a list, such as (hang, bug)")
		return
	case n.Operator == "in":
		for i := range list.Nodes {
			t.value(&list.Nodes[i], field.Value, "==", known)
		}
	default:
		t.value(&n.Right, field.Value, n.Operator, known)
	}
	if field.Value != "also" && field.Value != "title" {
		return
	}
	// Of a set: any(title, # == "…"), and for != not that.
	negated := n.Operator == "!="
	if negated {
		n.Operator = "=="
	}
	n.Left = &ast.PointerNode{}
	ast.Patch(node, &ast.BuiltinNode{Name: "any", Arguments: []ast.Node{field, &ast.PredicateNode{Node: n}}})
	if negated {
		*node = &ast.UnaryNode{Operator: "!", Node: *node}
	}
}

// value makes a word or a text of a field's value a text, and checks it.
func (t *exprTests) value(node *ast.Node, field, operator string, known []string) {
	var v string
	switch n := (*node).(type) {
	case *ast.IdentifierNode:
		v = n.Value
	case *ast.StringNode:
		v = n.Value
	case *ast.IntegerNode:
		v = strconv.Itoa(n.Value)
	default:
		t.fail(n, "a value for %s is missing before %s", field, n)
		return
	}
	what := strings.Replace(field, "also", "verdict", 1)
	passes, equal := exprTest(operator, v), operator == "==" || operator == "!="
	switch {
	case v == "":
		t.fail(*node, "an empty text matches nothing")
	case field == "step":
		t.steps = append(t.steps, stepTest{passes, (*node).Location().From, fmt.Errorf("%q is no step of the scenario", v)})
	case known == nil || passes == nil:
	case field == "errno" && equal:
		if err := checkErrno(v); err != nil {
			t.fail(*node, "%w", err)
		}
	case equal && !slices.Contains(known, v):
		t.fail(*node, "%q is no %s; there are %s", v, what, strings.Join(known, ", "))
	case !slices.ContainsFunc(known, passes) && (field != "errno" || !passes("") && !slices.ContainsFunc(unnamedErrnos(), passes)):
		t.fail(*node, "there is no %s that %s %q", what, operator, v)
	}
	ast.Patch(node, &ast.StringNode{Value: v})
}

// exprTest is what an operator tests of a text; nil where that can't be done.
func exprTest(operator, v string) func(string) bool {
	by := func(test func(s, v string) bool) func(string) bool {
		return func(s string) bool { return test(s, v) }
	}
	switch operator {
	case "contains":
		return by(strings.Contains)
	case "startsWith":
		return by(strings.HasPrefix)
	case "endsWith":
		return by(strings.HasSuffix)
	case "matches":
		if re, err := regexp.Compile(v); err == nil { // else the compiler says it
			return re.MatchString
		}
		return nil
	}
	return by(func(s, v string) bool { return s == v })
}

// unnamedErrno is how the guest reports one that errno(3) has no name for, such
// as the kernel's own 524.
var unnamedErrno = regexp.MustCompile(`^errno ([1-9][0-9]{0,3})$`)

// mostErrno is the largest that a system call can return (include/linux/err.h).
const mostErrno = 4095

// unnamedErrnos are all of them.
func unnamedErrnos() (names []string) {
	for n := range unix.Errno(mostErrno + 1) {
		if n > 0 && unix.ErrnoName(n) == "" {
			names = append(names, fmt.Sprintf("errno %d", n))
		}
	}
	return names
}

// checkErrno says why a text is no errno as the guest reports one.
func checkErrno(v string) error {
	if m := unnamedErrno.FindStringSubmatch(v); m != nil {
		n, _ := strconv.Atoi(m[1]) // digits
		if name := unix.ErrnoName(unix.Errno(n)); name != "" {
			return fmt.Errorf("%q has the name %s", v, name)
		}
		if n <= mostErrno {
			return nil
		}
	}
	if !slices.Contains(errnos(), v) {
		return fmt.Errorf("%q is no errno%s", v, text.DidYouMean(v, errnos()))
	}
	return nil
}
