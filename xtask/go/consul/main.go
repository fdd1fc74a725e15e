// Command consul is HashiCorp's Consul with the two commands that tests need: `agent` and `version`.
//
// The package with all of its commands needs a module that the module proxy does not have.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	mcli "github.com/mitchellh/cli"

	"github.com/hashicorp/consul/command/agent"
	"github.com/hashicorp/consul/command/cli"
	"github.com/hashicorp/consul/command/version"
)

func main() {
	// Consul's own main does the same: what is worth saying goes through the agent's logger.
	log.SetOutput(io.Discard)
	ui := &cli.BasicUI{BasicUi: mcli.BasicUi{Writer: os.Stdout, ErrorWriter: os.Stderr}}
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "agent":
			os.Exit(agent.New(ui).Run(os.Args[2:]))
		case "version":
			os.Exit(version.New(ui).Run(os.Args[2:]))
		}
	}
	fmt.Fprintln(os.Stderr, "usage: consul agent [OPTIONS] | consul version")
	os.Exit(2)
}
