package bisect

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// An Expr is a condition on the outcome of a trial, for --bad-when:
//
//	expr   = and { "||" and }
//	and    = not { "&&" not }
//	not    = [ "!" ] ( "(" expr ")" | test )
//	test   = field ( "==" | "!=" ) value
//	       | field ( "=~" | "!~" ) value
//	       | field "in" "(" value { "," value } ")"
//	field  = "verdict" | "also" | "phase" | "step" | "errno" | "title"
//	value  = word | '"' text with \" and \\ '"'
//
// also and title are sets: == and =~ hold when one of them is, or matches; !=
// and !~ when none does. =~ and !~ take a regular expression (RE2) that may
// match anywhere. A trial without a verdict (an error, a kernel that did not
// boot) never comes before an expression. Verdicts and phases must be ones
// that exist.
type Expr struct {
	text string
	eval func(Outcome) bool
}

// ParseExpr reads an expression. Errors name the column, counted from 1.
func ParseExpr(text string) (*Expr, error) {
	p := &exprParser{text: text}
	p.next()
	eval, err := p.or()
	if err == nil && p.tok != "" {
		err = p.errorf("%s is left over; join conditions with && or ||", p.seen())
	}
	if err != nil {
		return nil, err
	}
	return &Expr{text: text, eval: eval}, nil
}

func (e *Expr) String() string { return e.text }

// Holds tells whether the expression is true of an outcome.
func (e *Expr) Holds(o Outcome) bool { return e.eval(o) }

type exprParser struct {
	text   string
	pos    int    // after tok
	start  int    // of tok
	tok    string // "" at the end
	quoted bool
	bad    error
	depth  int
}

func (p *exprParser) errorf(format string, args ...any) error {
	if p.bad != nil {
		return p.bad
	}
	col := utf8.RuneCountInString(p.text[:p.start]) + 1
	return fmt.Errorf("expression, column %d: %s", col, fmt.Sprintf(format, args...))
}

func (p *exprParser) seen() string {
	if p.tok == "" {
		return "the end"
	}
	return fmt.Sprintf("%q", p.tok)
}

// next reads a token.
func (p *exprParser) next() {
	rest := strings.TrimLeftFunc(p.text[p.pos:], unicode.IsSpace)
	p.start = len(p.text) - len(rest)
	p.quoted = false
	p.tok = ""
	if rest == "" {
		p.pos = len(p.text)
		return
	}
	for _, op := range []string{"||", "&&", "==", "!=", "=~", "!~", "!", "(", ")", ","} {
		if strings.HasPrefix(rest, op) {
			p.tok = op
			p.pos = p.start + len(op)
			return
		}
	}
	if rest[0] == '"' {
		var b strings.Builder
		for i := 1; i < len(rest); i++ {
			switch c := rest[i]; {
			case c == '"':
				p.tok, p.quoted, p.pos = b.String(), true, p.start+i+1
				if p.tok == "" {
					p.bad = p.errorf("an empty text matches nothing")
				}
				return
			case c == '\\' && i+1 < len(rest) && (rest[i+1] == '"' || rest[i+1] == '\\'):
				i++
				b.WriteByte(rest[i])
			default:
				b.WriteByte(c)
			}
		}
		p.bad = p.errorf("the text has no closing \"")
		p.pos = len(p.text)
		return
	}
	n := strings.IndexFunc(rest, func(r rune) bool {
		return !(unicode.IsLetter(r) || unicode.IsDigit(r) || strings.ContainsRune("_-.:/+", r))
	})
	if n < 0 {
		n = len(rest)
	}
	if n == 0 {
		r, size := utf8.DecodeRuneInString(rest)
		p.bad = p.errorf("%q can't stand here; put texts in \"…\"", r)
		p.pos = p.start + size
		return
	}
	p.tok = rest[:n]
	p.pos = p.start + n
}

func (p *exprParser) op(tok string) bool {
	if p.quoted || p.tok != tok {
		return false
	}
	p.next()
	return true
}

func (p *exprParser) or() (func(Outcome) bool, error) {
	left, err := p.and()
	for err == nil && p.op("||") {
		l := left
		var r func(Outcome) bool
		if r, err = p.and(); err == nil {
			left = func(o Outcome) bool { return l(o) || r(o) }
		}
	}
	return left, err
}

func (p *exprParser) and() (func(Outcome) bool, error) {
	left, err := p.not()
	for err == nil && p.op("&&") {
		l := left
		var r func(Outcome) bool
		if r, err = p.not(); err == nil {
			left = func(o Outcome) bool { return l(o) && r(o) }
		}
	}
	return left, err
}

func (p *exprParser) not() (func(Outcome) bool, error) {
	if p.depth++; p.depth > 100 {
		return nil, p.errorf("too deeply nested")
	}
	defer func() { p.depth-- }()
	if p.op("!") {
		f, err := p.not()
		if err != nil {
			return nil, err
		}
		return func(o Outcome) bool { return !f(o) }, nil
	}
	if p.op("(") {
		f, err := p.or()
		if err != nil {
			return nil, err
		}
		if !p.op(")") {
			return nil, p.errorf("\")\" is missing before %s", p.seen())
		}
		return f, nil
	}
	return p.test()
}

// exprFields are the fields of an outcome that an expression can ask for.
var exprFields = map[string]struct {
	get    func(Outcome) []string
	values []string // all there are; nil: any
}{
	"verdict": {func(o Outcome) []string { return []string{o.Verdict} }, verdicts},
	"also":    {func(o Outcome) []string { return o.Also }, verdicts},
	"phase":   {func(o Outcome) []string { return []string{o.Phase} }, phases},
	"step":    {func(o Outcome) []string { return []string{o.Step} }, nil},
	"errno":   {func(o Outcome) []string { return []string{o.Errno} }, nil},
	"title":   {func(o Outcome) []string { return o.Titles }, nil},
}

func (p *exprParser) test() (func(Outcome) bool, error) {
	name := p.tok
	field, ok := exprFields[name]
	if !ok || p.quoted {
		return nil, p.errorf("%s is no field; there are verdict, also, phase, step, errno and title", p.seen())
	}
	p.next()
	op := p.tok
	if p.quoted || !slices.Contains([]string{"==", "!=", "=~", "!~", "in"}, op) {
		return nil, p.errorf("after %s comes ==, !=, =~, !~ or in, not %s", name, p.seen())
	}
	p.next()
	var is func(string) bool
	switch op {
	case "==", "!=":
		v, err := p.value(name, field.values)
		if err != nil {
			return nil, err
		}
		is = func(s string) bool { return s == v }
	case "=~", "!~":
		start := p.start
		v, err := p.value(name, nil)
		if err != nil {
			return nil, err
		}
		re, err := regexp.Compile(v)
		if err != nil {
			p.start = start
			return nil, p.errorf("%v", err)
		}
		is = re.MatchString
	case "in":
		if !p.op("(") {
			return nil, p.errorf("after in comes a list in parentheses, not %s", p.seen())
		}
		var list []string
		for {
			v, err := p.value(name, field.values)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
			if p.op(")") {
				break
			}
			if !p.op(",") {
				return nil, p.errorf("the list goes on with , or ends with ), not %s", p.seen())
			}
		}
		is = func(s string) bool { return slices.Contains(list, s) }
	}
	none := op == "!=" || op == "!~"
	return func(o Outcome) bool {
		return slices.ContainsFunc(field.get(o), is) != none
	}, nil
}

func (p *exprParser) value(field string, known []string) (string, error) {
	if p.bad != nil {
		return "", p.bad
	}
	if p.tok == "" || (!p.quoted && strings.ContainsAny(p.tok, "|&=~!(),")) {
		return "", p.errorf("a value for %s is missing before %s", field, p.seen())
	}
	if known != nil && !slices.Contains(known, p.tok) {
		return "", p.errorf("%s is no %s; there are %s", p.seen(), strings.Replace(field, "also", "verdict", 1), strings.Join(known, ", "))
	}
	v := p.tok
	p.next()
	return v, nil
}
