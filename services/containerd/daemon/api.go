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

// registerAPI registers the plugin that serves the gRPC services of the other plugins on
// a Unix socket. It replaces upstream's plugin, which also counts calls for a metrics
// endpoint: there is none here, and its tables take 2 MB of memory and 2 ms of every
// start of the program. When the server fails, its error is sent on failed, which needs
// a buffer.
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
				return nil, fmt.Errorf("cannot serve the API without an address: %w", errdefs.ErrInvalidArgument)
			}
			return newAPI(ic.Plugins().GetAll(), config, failed)
		},
	})
}

// api serves the services of all plugins.
type api struct {
	*grpc.Server
	config *apiConfig
	failed chan<- error
}

// newAPI leaves out plugins that could not be initialised: containerd has logged those.
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

// Start begins to serve, and returns.
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

// Close stops the server and ends all calls.
func (a *api) Close() error {
	a.Stop()
	return nil
}

// unaryNamespace passes the namespace of a call on to the calls that its handler makes,
// mostly to the shim.
func unaryNamespace(ctx context.Context, request any, _ *grpc.UnaryServerInfo, handle grpc.UnaryHandler) (any, error) {
	return handle(withNamespace(ctx), request)
}

func streamNamespace(service any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, handle grpc.StreamHandler) error {
	return handle(service, namespaceStream{stream, withNamespace(stream.Context())})
}

func withNamespace(ctx context.Context) context.Context {
	if namespace, ok := namespaces.Namespace(ctx); ok {
		return namespaces.WithNamespace(ctx, namespace)
	}
	return ctx
}

// namespaceStream is a stream with another context.
type namespaceStream struct {
	grpc.ServerStream
	ctx context.Context
}

// Context returns the context of the stream, with the namespace for further calls.
func (s namespaceStream) Context() context.Context { return s.ctx }
