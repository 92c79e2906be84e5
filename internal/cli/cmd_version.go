package cli

import (
	"runtime"

	"github.com/urfave/cli/v2"
)

func versionCommand(s *session) *cli.Command {
	return &cli.Command{
		Name:      "version",
		Usage:     "tell which postbag this is",
		UsageText: "version",
		Flags:     jsonFlags(),
		ArgsUsage: "  postbag version\n  postbag version --json",
		Action: s.action(func(_ *options, args []string) error {
			if err := noArguments("version", args); err != nil {
				return err
			}
			s.out.result("postbag %s (%s, %s/%s)", s.env.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
			s.out.event(versionEvent{"version", s.env.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH})
			return nil
		}),
	}
}
