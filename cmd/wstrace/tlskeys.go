package main

import (
	"os"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode/pcap"
)

// A tlsKeysFlag is the value of --tls-keys, which commands have that read captures.
type tlsKeysFlag struct {
	*pcap.Keys // nil unless given
	name       string
}

func (f *tlsKeysFlag) register(cmd *cobra.Command) {
	cmd.Flags().Var(f, "tls-keys", "decrypt TLS in a pcap or pcapng file with the keys in `FILE`, in the format of SSLKEYLOGFILE")
	cmd.RegisterFlagCompletionFunc("tls-keys", func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return nil, cobra.ShellCompDirectiveDefault
	})
}

func (f *tlsKeysFlag) Type() string   { return "FILE" }
func (f *tlsKeysFlag) String() string { return f.name }

func (f *tlsKeysFlag) Set(name string) error {
	b, err := os.ReadFile(name)
	if err != nil {
		return cause(err)
	}
	f.name = name
	f.Keys, err = pcap.ParseKeys(b)
	return err
}
