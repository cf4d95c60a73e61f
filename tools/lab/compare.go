package main

import (
	"os"

	"github.com/evenkeel/evenkeel/tools/lab/compare"
)

type compareCommand struct {
	Sides []string `arg:"" name:"side" help:"LABEL=FILE[,FILE...]: results.json of the runs of one side, which are repeats of one experiment. Without LABEL, the file's folder is the label. The first side is what the others are compared with."`

	Phases bool   `help:"Compare the phases too, each for itself."`
	JSON   string `name:"json" type:"path" help:"File to write the comparison to, as JSON."`
	HTML   string `name:"html" type:"path" help:"File to write the comparison to, as a page."`
}

// Run compares.
func (c compareCommand) Run() error {
	sides, err := compare.Read(c.Sides)
	if err != nil {
		return usageError{err}
	}
	found, err := compare.Compare(sides, c.Phases)
	if err != nil {
		return usageError{err}
	}
	if c.JSON != "" {
		if err := write(c.JSON, func(file *os.File) error { return compare.JSON(file, found) }); err != nil {
			return err
		}
	}
	if c.HTML != "" {
		if err := write(c.HTML, func(file *os.File) error { return compare.HTML(file, found) }); err != nil {
			return err
		}
	}
	return compare.Table(os.Stdout, found, terminalWidth(os.Stdout))
}
