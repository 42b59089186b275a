package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/blockrig/blockrig/harness/text"
)

// numberVar adds a flag for a whole number from least to most.
func numberVar(f *pflag.FlagSet, to *int, name string, value, least, most int, usage string) {
	*to = value
	f.Var(&number{to, least, most}, name, usage)
}

type number struct {
	to          *int
	least, most int
}

func (n *number) String() string { return strconv.Itoa(*n.to) }
func (n *number) Type() string   { return "N" }

func (n *number) Set(s string) error {
	v, err := strconv.Atoi(s)
	if err != nil || v < n.least || v > n.most {
		return fmt.Errorf("want %d to %d", n.least, n.most)
	}
	*n.to = v
	return nil
}

// choiceVar adds a flag for one of some words.
func choiceVar(f *pflag.FlagSet, to *string, name, value string, words []string, usage string) {
	*to = value
	f.Var(&choice{to, words}, name, usage)
}

type choice struct {
	to    *string
	words []string
}

func (c *choice) String() string { return *c.to }
func (c *choice) Type() string   { return strings.Join(c.words, "|") }

func (c *choice) Set(s string) error {
	if !slices.Contains(c.words, s) {
		return fmt.Errorf("want %s%s", oneOf(c.words), text.DidYouMean(s, c.words))
	}
	*c.to = s
	return nil
}

// oneOf is "a, b or c".
func oneOf(words []string) string {
	last := len(words) - 1
	if last == 0 {
		return words[0]
	}
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// flagError says in blockrig's way what pflag has to say of a flag.
func flagError(c *cobra.Command, err error) error {
	if value, ok := errors.AsType[*pflag.InvalidValueError](err); ok {
		why := errors.Unwrap(err)
		switch value.GetFlag().Value.Type() {
		case "bool":
			why = errors.New("want true or false")
		case "float64":
			why = errors.New("want a number")
		}
		return badRequest(fmt.Errorf("--%s %s: %w", value.GetFlag().Name, text.OneLine(value.GetValue()), why))
	}
	if unknown, ok := errors.AsType[*pflag.NotExistError](err); ok {
		var names []string
		c.Flags().VisitAll(func(f *pflag.Flag) {
			if !f.Hidden {
				names = append(names, "--"+f.Name)
			}
		})
		guess := ""
		if name := unknown.GetSpecifiedName(); len(name) > 1 {
			guess = text.DidYouMean("--"+name, names)
		}
		return badRequest(fmt.Errorf("%w%s; see %s --help", err, guess, c.CommandPath()))
	}
	return badRequest(err)
}

// noneEmpty refuses arguments and values of flags that say nothing: most
// likely a variable of a script that is not set.
func noneEmpty(c *cobra.Command, args []string) (err error) {
	for i, arg := range args {
		if arg == "" {
			return badRequest(fmt.Errorf("%sargument %d is empty", path(c), i+1))
		}
	}
	c.Flags().Visit(func(f *pflag.Flag) {
		values := []string{f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			values = list.GetSlice()
		}
		if slices.Contains(values, "") {
			err = badRequest(fmt.Errorf("--%s: its value is empty", f.Name))
		}
	})
	return err
}

// usageErrors makes a wrong number of arguments, or an unknown verb, the
// user's error in one line: cobra gives both as plain errors.
func usageErrors(c *cobra.Command) {
	check := c.Args
	c.Args = func(c *cobra.Command, args []string) error {
		if check == nil || check(c, args) == nil {
			return noneEmpty(c, args)
		}
		if c.HasSubCommands() {
			return unknownVerb(c, args[0])
		}
		for n := range args {
			if check(c, args[:n]) == nil {
				return badRequest(fmt.Errorf("%s%q is one argument too many; usage: %s", path(c), args[n], c.UseLine()))
			}
		}
		return badRequest(fmt.Errorf("%san argument is missing; usage: %s", path(c), c.UseLine()))
	}
	for _, sub := range c.Commands() {
		usageErrors(sub)
	}
}

// path begins a message with the verb that it is about: "bisect git: ".
func path(c *cobra.Command) string {
	if !c.HasParent() {
		return ""
	}
	return strings.TrimPrefix(c.CommandPath(), c.Root().Name()+" ") + ": "
}

func unknownVerb(c *cobra.Command, word string) error {
	names := verbs(c)
	hint := text.DidYouMean(word, names)
	for _, sub := range c.Commands() {
		if !sub.Hidden && slices.Contains(verbs(sub), word) {
			hint = fmt.Sprintf(" (did you mean %s %s?)", sub.Name(), word)
			break
		}
	}
	return badRequest(fmt.Errorf("%sunknown command %q%s; there are: %s", path(c), word, hint, strings.Join(names, ", ")))
}

// verbs are the names of the commands below c.
func verbs(c *cobra.Command) []string {
	var names []string
	for _, sub := range c.Commands() {
		if !sub.Hidden {
			names = append(names, sub.Name())
		}
	}
	return names
}

// needVerb is what a command does that only has others below it.
func needVerb(c *cobra.Command, _ []string) error {
	return badRequest(fmt.Errorf("%ssay what to do: %s", path(c), strings.Join(verbs(c), ", ")))
}

// checkOutput says why the file of --output can't be written, before there is
// something to write that took long to make.
func checkOutput(path string) error {
	if path == "" {
		return nil
	}
	dir := filepath.Dir(path)
	if info, err := os.Stat(dir); err != nil || !info.IsDir() {
		return badRequest(fmt.Errorf("--output %s: there is no folder %s", path, dir))
	}
	if info, err := os.Stat(path); err == nil && info.IsDir() || strings.HasSuffix(path, "/") {
		return badRequest(fmt.Errorf("--output %s: want a file, and this is a folder", path))
	}
	return nil
}
