package main

import (
	"context"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/demo"
)

const demoExample = `  wstrace demo
  wstrace demo -o hex
  wstrace demo -w chat.wst && wstrace show -o json chat.wst`

func newDemo(con *console, v *view) *cobra.Command {
	var r record
	cmd := &cobra.Command{
		Use:               "demo [flags]",
		Short:             "Run a small chat with the proxy in between, to see an example",
		Long:              "Run a chat server, three clients, and the proxy between them, in one process.",
		Example:           demoExample,
		Args:              noArgs,
		ValidArgsFunction: cobra.NoFileCompletions,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return runDemo(cmd.Context(), con, v, &r)
		},
	}
	r.register(cmd)
	v.registerSeverity(cmd)
	return cmd
}

func noArgs(_ *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usagef("unexpected argument %q", args[0])
	}
	return nil
}

func runDemo(ctx context.Context, con *console, v *view, r *record) error {
	f, err := newFlow(con, v, r)
	if err != nil {
		return err
	}
	if err := f.begin(); err != nil {
		return f.abandon(err)
	}
	ctx, stop := f.untilSignal(ctx)
	defer stop()
	look := r.look(v)
	look.Tap = f.tap()
	err = demo.Run(ctx, &f.tee, look, slog.New(con))
	if ctx.Err() != nil {
		err = nil // it was told to stop
	}
	return f.end(err)
}
