package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"

	"github.com/spf13/cobra"

	"github.com/blockrig/blockrig/harness/fleet"
	"github.com/blockrig/blockrig/results/report"
)

// noPage is what --page says when there is to be none.
const noPage = "none"

func (a *app) serveCommand() *cobra.Command {
	var listen, page, url, key string
	c := &cobra.Command{
		Use: "serve", Short: "Be the hub that hands trials and builds to other machines", Args: cobra.NoArgs,
		Long: `Be the hub of a fleet: commands with --hub send it trials, workers on other
machines ("blockrig worker") take them, make them and send back what came out.
The commands record it as if they had made it themselves.

The first start makes keys, in a folder that only this user can read. What is
printed on stdout is the line to paste on a worker. A command of this user's on
this machine finds its key by itself; elsewhere it needs the one that --key
client prints. The keys are secrets: who has a worker's can take trials and give
outcomes, who has a client's can have kernels run on the workers, and built on those
that build any ("blockrig help worker").

There is one port, with TLS; workers and commands know the hub by the digest of
its certificate, which is a part of their keys. The queue only leases: when the
hub ends, workers go on with what they have, and the next start takes it up. With
--nats it is kept in a NATS JetStream server of yours, in a stream of this hub's
own; "sync_interval: always" there has it survive a power failure. Where it is
lost, or stands still, it is made again.

The page of --page shows the results that are recorded on this machine, as
"blockrig results serve" does, and under /workers what each worker does.`,
		Example: `  blockrig serve
  blockrig serve --listen 192.0.2.7:7070
  blockrig run lvm-mirror-dio-read -k debian:6.18 --repeat 100 --hub 127.0.0.1:7070`,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := checkAddress("listen", listen); err != nil {
				return badRequest(err)
			}
			if page != noPage {
				if err := checkAddress("page", page); err != nil {
					return badRequest(err)
				}
			}
			dir, err := hubDir()
			if err != nil {
				return err
			}
			keys, err := fleet.OpenKeys(filepath.Join(dir, hubKeys))
			if err != nil {
				return badRequest(err) // and nothing listens without
			}
			if key != "" {
				_, err := fmt.Fprintln(a.stdout, pasteLine(keys.Key(fleet.Role(key)), listen))
				return err
			}
			return a.serve(c.Context(), keys, dir, listen, page, url)
		},
	}
	f := c.Flags()
	f.StringVar(&listen, "listen", "127.0.0.1:7070", "`ADDRESS:PORT` for workers and commands")
	f.StringVar(&page, "page", "127.0.0.1:8080", "`ADDRESS:PORT` of the page for people, which has no password; none: there is no page")
	f.StringVar(&url, "nats", "", "keep the queue in the NATS JetStream server at `URL`, not in one within this process")
	choiceVar(f, &key, "key", "", []string{string(fleet.RoleWorker), string(fleet.RoleClient)}, "only print the line with the key for a worker, or for a command on another machine")
	return c
}

// pasteLine is what is pasted on another machine.
func pasteLine(k fleet.Key, listen string) string {
	host, port, _ := net.SplitHostPort(listen) // checked
	if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
		if name, err := os.Hostname(); err == nil {
			host = name
		}
	}
	verb := "worker"
	if k.Role == fleet.RoleClient {
		verb = "run SCENARIO -k REF"
	}
	return fmt.Sprintf("%s=%s blockrig %s --hub %s", hubKey, k, verb, net.JoinHostPort(host, port))
}

func (a *app) serve(ctx context.Context, keys *fleet.Keys, dir, listen, page, url string) (err error) {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	root, err := a.sweptRoot(ctx)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", listen)
	if err != nil {
		return badRequest(fmt.Errorf("--listen: %w", err))
	}
	hub, err := fleet.NewHub(ctx, fleet.Options{Keys: keys, State: filepath.Join(dir, hubQueue), Files: filepath.Join(cache, "hub"), NATS: url, Log: a.log})
	if err != nil {
		return errors.Join(err, l.Close())
	}
	defer func() { err = errors.Join(err, hub.Close()) }()
	if _, err := fmt.Fprintln(a.stdout, pasteLine(keys.Key(fleet.RoleWorker), l.Addr().String())); err != nil {
		return errors.Join(err, l.Close())
	}
	a.say("the hub listens at %s; the line on stdout is to be pasted on a worker (it has a secret in it)", l.Addr())
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var shown sync.WaitGroup
	var perr error
	if page != noPage {
		shown.Go(func() {
			v := report.Service{Root: root, Listen: page, Say: a.say, Tool: "blockrig " + thisBuild().Version, More: map[string]http.HandlerFunc{
				"GET /workers": func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "application/json")
					_ = json.NewEncoder(w).Encode(hub.Status())
				},
			}}
			perr = wrongRun(v.Serve(ctx))
			if perr != nil {
				stop()
			}
		})
	}
	err = hub.Serve(ctx, l)
	stop()
	shown.Wait()
	return errors.Join(perr, err)
}
