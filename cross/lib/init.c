/* The first and only program beside weir in a machine that cross/boot starts. It mounts, loads the modules listed in
 * /modules, gives eth0 an address, and keeps weir running with the arguments in /arguments, one a line. On the console it
 * says what happens, and every second what memory is used; the line "kill" from there kills weir, "off" ends the machine.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <net/if.h>
#include <net/route.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MAX_ARGUMENTS 64

static void say(const char *what, const char *about, int error) {
  printf("init: %s %s%s%s\n", what, about, error ? ": " : "", error ? strerror(error) : "");
}

static void load_module(const char *path) {
  int file = open(path, O_RDONLY | O_CLOEXEC);
  if (file < 0 || (syscall(SYS_finit_module, file, "", 0) != 0 && errno != EEXIST)) say("cannot load", path, errno);
  if (file >= 0) close(file);
}

/* Calls `each` with every line of a file. */
static void each_line(const char *path, void (*each)(const char *)) {
  char line[512];
  FILE *file = fopen(path, "re");
  while (file && fgets(line, sizeof line, file)) {
    line[strcspn(line, "\n")] = 0;
    if (*line) each(line);
  }
  if (file) fclose(file);
}

static void address(struct sockaddr *to, const char *text) {
  struct sockaddr_in in = {.sin_family = AF_INET, .sin_addr.s_addr = inet_addr(text)};
  memcpy(to, &in, sizeof in);
}

static int up(int control, const char *name, const char *ip, const char *mask) {
  struct ifreq request = {0};
  strcpy(request.ifr_name, name);
  address(&request.ifr_addr, ip);
  if (ioctl(control, SIOCSIFADDR, &request) != 0) return -1;
  address(&request.ifr_addr, mask);
  ioctl(control, SIOCSIFNETMASK, &request);
  request.ifr_flags = IFF_UP | IFF_RUNNING;
  return ioctl(control, SIOCSIFFLAGS, &request);
}

/* The addresses of qemu's user network. A card that hangs on USB takes a while to be there. */
static void network(void) {
  const char *const cards[] = {"eth0", "usb0"};
  int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  up(control, "lo", "127.0.0.1", "255.0.0.0");
  for (int wait = 0; wait < 600; wait++) {
    for (int i = 0; i < 2; i++) {
      if (up(control, cards[i], "10.0.2.15", "255.255.255.0") != 0) continue;
      struct rtentry route = {.rt_flags = RTF_UP | RTF_GATEWAY};
      address(&route.rt_gateway, "10.0.2.2");
      address(&route.rt_dst, "0.0.0.0");
      address(&route.rt_genmask, "0.0.0.0");
      if (ioctl(control, SIOCADDRT, &route) != 0) say("no route through", cards[i], errno);
      say("network through", cards[i], 0);
      close(control);
      return;
    }
    usleep(100000);
  }
  say("no", "network card", 0);
}

static char *arguments[MAX_ARGUMENTS];
static int count;

static void argument(const char *line) {
  if (count < MAX_ARGUMENTS - 1) arguments[count++] = strdup(line);
}

static pid_t start(void) {
  pid_t child = fork();
  if (child != 0) return child;
  execv("/weir", arguments);
  say("cannot start", "weir", errno);
  _exit(127);
}

/* The number after `field` in a file of /proc, in kB. */
static long kilobytes(const char *path, const char *field) {
  char line[256];
  long value = -1;
  FILE *file = fopen(path, "re");
  while (file && value < 0 && fgets(line, sizeof line, file))
    if (strncmp(line, field, strlen(field)) == 0) value = atol(line + strlen(field));
  if (file) fclose(file);
  return value;
}

static void report(pid_t weir) {
  char path[32];
  snprintf(path, sizeof path, "/proc/%d/status", (int)weir);
  printf("init: memory VmHWM=%ld VmRSS=%ld MemTotal=%ld MemFree=%ld MemAvailable=%ld\n", kilobytes(path, "VmHWM:"),
         kilobytes(path, "VmRSS:"), kilobytes("/proc/meminfo", "MemTotal:"), kilobytes("/proc/meminfo", "MemFree:"),
         kilobytes("/proc/meminfo", "MemAvailable:"));
}

static void obey(pid_t weir) {
  char order[64];
  ssize_t length = read(0, order, sizeof order - 1);
  if (length <= 0) return;
  order[length] = 0;
  if (strstr(order, "kill")) kill(weir, SIGKILL);
  if (strstr(order, "off")) {
    kill(weir, SIGTERM);
    waitpid(weir, NULL, 0);
    sync();
    /* Not off: a board without that switch would stand still. qemu ends, because of -no-reboot. */
    reboot(RB_AUTOBOOT);
  }
}

int main(void) {
  setvbuf(stdout, NULL, _IOLBF, 0);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("sysfs", "/sys", "sysfs", 0, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  each_line("/modules", load_module);
  network();
  /* A board without a clock starts in 1970, as many routers do; weir has to live with that. */
  printf("init: it is %lld s after 1970\n", (long long)time(NULL));
  each_line("/arguments", argument);
  pid_t weir = start();
  for (;;) {
    struct pollfd console = {.fd = 0, .events = POLLIN};
    if (poll(&console, 1, 1000) > 0) obey(weir);
    report(weir);
    int status;
    pid_t gone;
    while ((gone = waitpid(-1, &status, WNOHANG)) > 0) {
      if (gone != weir) continue;
      printf("init: weir ended, status %d signal %d\n", WEXITSTATUS(status), WTERMSIG(status));
      weir = start();
    }
  }
}
