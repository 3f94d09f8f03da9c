/* A plugin for qemu that counts instructions: the total in a file that others can read while qemu runs, and, of a program
 * under qemu-user, how many each function took, as lines "COUNT NAME" in another file at the end.
 *
 *   qemu-mips -plugin icount.so,total=FILE[,functions=FILE] program
 *
 * The interface is declared here (qemu's include/qemu/qemu-plugin.h, version 1), so that no header has to be installed. */
#include <fcntl.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

typedef uint64_t qemu_plugin_id_t;
struct qemu_plugin_tb;
struct qemu_plugin_insn;
extern int qemu_plugin_version;
int qemu_plugin_version = 1;
void qemu_plugin_register_vcpu_tb_trans_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, struct qemu_plugin_tb *));
size_t qemu_plugin_tb_n_insns(const struct qemu_plugin_tb *);
struct qemu_plugin_insn *qemu_plugin_tb_get_insn(const struct qemu_plugin_tb *, size_t);
const char *qemu_plugin_insn_symbol(const struct qemu_plugin_insn *);
void qemu_plugin_register_vcpu_tb_exec_inline(struct qemu_plugin_tb *, int op, void *ptr, uint64_t imm);
void qemu_plugin_register_atexit_cb(qemu_plugin_id_t, void (*)(qemu_plugin_id_t, void *), void *);

#define MAX_FUNCTIONS 16384
static struct { const char *name; uint64_t count; } functions[MAX_FUNCTIONS];
static uint64_t *total, unnamed;
static const char *functions_file;

static uint64_t *counter_of(const char *name) {
  uint32_t hash = 2166136261u;
  if (!name) return &unnamed;
  for (const char *c = name; *c; c++) hash = (hash ^ (uint8_t)*c) * 16777619u;
  for (uint32_t i = 0; i < MAX_FUNCTIONS; i++) {
    uint32_t at = (hash + i) % MAX_FUNCTIONS;
    if (!functions[at].name) functions[at].name = strdup(name);
    if (!strcmp(functions[at].name, name)) return &functions[at].count;
  }
  return &unnamed;
}

static void translated(qemu_plugin_id_t id, struct qemu_plugin_tb *block) {
  uint64_t length = qemu_plugin_tb_n_insns(block);
  (void)id;
  qemu_plugin_register_vcpu_tb_exec_inline(block, 0, total, length);
  if (functions_file) {
    /* A block is within one function. */
    const char *name = qemu_plugin_insn_symbol(qemu_plugin_tb_get_insn(block, 0));
    qemu_plugin_register_vcpu_tb_exec_inline(block, 0, counter_of(name), length);
  }
}

static void at_end(qemu_plugin_id_t id, void *data) {
  (void)id, (void)data;
  FILE *out = functions_file ? fopen(functions_file, "w") : NULL;
  if (!out) return;
  for (int i = 0; i < MAX_FUNCTIONS; i++)
    if (functions[i].count) fprintf(out, "%" PRIu64 " %s\n", functions[i].count, functions[i].name);
  fprintf(out, "%" PRIu64 " ?\n", unnamed);
  fclose(out);
}

__attribute__((visibility("default"))) int qemu_plugin_install(qemu_plugin_id_t id, const void *info, int argc, char **argv) {
  (void)info;
  for (int i = 0; i < argc; i++) {
    if (!strncmp(argv[i], "total=", 6)) {
      int file = open(argv[i] + 6, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
      if (file < 0 || ftruncate(file, sizeof *total) != 0) return 1;
      total = mmap(NULL, sizeof *total, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
      if (total == MAP_FAILED) return 1;
    }
    if (!strncmp(argv[i], "functions=", 10)) functions_file = strdup(argv[i] + 10);
  }
  if (!total) return 1;
  qemu_plugin_register_vcpu_tb_trans_cb(id, translated);
  qemu_plugin_register_atexit_cb(id, at_end, NULL);
  return 0;
}
