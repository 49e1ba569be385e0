package daemon

import (
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/containerd/containerd/v2/defaults"
	"github.com/containerd/containerd/v2/pkg/namespaces"
	"github.com/containerd/containerd/v2/pkg/sys"
	"github.com/containerd/containerd/v2/plugins"
	"github.com/containerd/errdefs"
	"github.com/containerd/plugin"
	"github.com/containerd/plugin/registry"
	"google.golang.org/grpc"
)

// apiConfig has the settings of upstream's plugin of this name.
type apiConfig struct {
	Address        string `toml:"address"`
	UID            int    `toml:"uid"`
	GID            int    `toml:"gid"`
	MaxRecvMsgSize int    `toml:"max_recv_message_size"` // bytes
	MaxSendMsgSize int    `toml:"max_send_message_size"` // bytes
}

// registerAPI registers what serves the plugins' gRPC services on a Unix socket.
// Upstream's, which this stands in for, also counts calls for a metrics endpoint;
// there is none here, and the tables for it take 2 MB and 2 ms of every start of the
// program. Should it no longer serve, failed gets the error; it needs a buffer.
func registerAPI(failed chan<- error) {
	registry.Register(&plugin.Registration{
		Type:     plugins.ServerPlugin,
		ID:       "grpc",
		Requires: []plugin.Type{plugins.GRPCPlugin},
		Config: &apiConfig{
			Address: defaults.DefaultAddress, UID: os.Geteuid(), GID: os.Getegid(),
			MaxRecvMsgSize: defaults.DefaultMaxRecvMsgSize, MaxSendMsgSize: defaults.DefaultMaxSendMsgSize,
		},
		InitFn: func(ic *plugin.InitContext) (any, error) {
			config, ok := ic.Config.(*apiConfig)
			if !ok || config.Address == "" {
				return nil, fmt.Errorf("the API needs an address: %w", errdefs.ErrInvalidArgument)
			}
			return newAPI(ic.Plugins().GetAll(), config, failed)
		},
	})
}

// api serves all services.
type api struct {
	*grpc.Server
	config *apiConfig
	failed chan<- error
}

// newAPI leaves out services of plugins that could not be made: those have been
// reported.
func newAPI(all []*plugin.Plugin, config *apiConfig, failed chan<- error) (*api, error) {
	options := []grpc.ServerOption{grpc.UnaryInterceptor(unaryNamespace), grpc.StreamInterceptor(streamNamespace)}
	if config.MaxRecvMsgSize > 0 {
		options = append(options, grpc.MaxRecvMsgSize(config.MaxRecvMsgSize))
	}
	if config.MaxSendMsgSize > 0 {
		options = append(options, grpc.MaxSendMsgSize(config.MaxSendMsgSize))
	}
	server := grpc.NewServer(options...)
	for _, p := range all {
		if p.Registration.Type != plugins.GRPCPlugin {
			continue
		}
		instance, err := p.Instance()
		service, ok := instance.(interface{ Register(*grpc.Server) error })
		if err != nil || !ok {
			continue
		}
		if err := service.Register(server); err != nil {
			return nil, fmt.Errorf("cannot register %s: %w", p.Registration.URI(), err)
		}
	}
	return &api{server, config, failed}, nil
}

// Start listens, and returns.
func (a *api) Start(context.Context) error {
	l, err := sys.GetLocalListener(a.config.Address, a.config.UID, a.config.GID)
	if err != nil {
		return fmt.Errorf("cannot listen on %s: %w", a.config.Address, err)
	}
	go func() {
		if err := a.Serve(l); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			a.failed <- fmt.Errorf("cannot serve %s: %w", a.config.Address, err)
		}
	}()
	return nil
}

// Close ends all calls.
func (a *api) Close() error {
	a.Stop()
	return nil
}

// unaryNamespace hands the namespace of a call on to the calls that it makes in
// turn, those of the shim above all.
func unaryNamespace(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return handle(withNamespace(ctx), request)
}

func streamNamespace(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(service, streamIn{stream, withNamespace(stream.Context())})
}

func withNamespace(ctx context.Context) context.Context {
	if namespace, ok := namespaces.Namespace(ctx); ok {
		return namespaces.WithNamespace(ctx, namespace)
	}
	return ctx
}

// streamIn is a stream with a context of its own.
type streamIn struct {
	grpc.ServerStream
	ctx context.Context
}

// Context is the one of the stream with the namespace for other calls.
func (s streamIn) Context() context.Context { return s.ctx }
