// SPDX-License-Identifier: BSD-2-Clause
// The manager, first of all processes: reads the config, starts the console and the VMs, reports
// how they end, and is the monitor. One thread, which sleeps on one event; all state is in struct
// manager.
#pragma once
#include <stdbool.h>
#include <stdint.h>
#include "config/config.h"
#include "drivers/lib/ring.h"
#include "kernel/abi/boot.h"
#include "kernel/abi/stats.h"
#include "vmm/manager/spawn.h"

#define MANAGER_NAME    CONFIG_MANAGER_NAME
#define MANAGER_VMS_MAX (START_VM_MAX - 1u) // line 0 is the manager's own

// Bits of the manager's event. Bit i below these: the process of VM i has ended, or lives and says
// that its guest has halted for good, or what is in its notes.
#define MANAGER_BIT_LINE    (1ull << 60) // line 0 has input, or room again
#define MANAGER_BIT_CONSOLE (1ull << 62) // the console's process has ended
_Static_assert(MANAGER_VMS_MAX <= 60, "a bit for every VM");
_Static_assert(CONFIG_RUN_MAX == MANAGER_VMS_MAX && CONFIG_FILES_MAX == BOOT_MODULE_MAX - 4,
               "the checker knows; the other modules are three programs and the config");

// VM_FAILED also: not started yet; VM_WAITING: for the monitor to start it.
enum manager_vm_state { VM_RUNNING, VM_STOPPING, VM_ENDED, VM_RESET, VM_EXITED, VM_KILLED,
                        VM_HUNG, VM_PANICKED, VM_FAILED, VM_WAITING };

// It has ended, and neither by its guest's will nor its user's.
static inline bool vm_state_failed(enum manager_vm_state state)
{
    return state == VM_KILLED || state == VM_HUNG || state == VM_PANICKED || state == VM_FAILED;
}

// Of a VM that starts again by itself.
struct manager_restart {
    uint64_t due_tsc;  // 0: it does not
    bool refused;      // only because it has been started again so often
    uint32_t count;    // of its restarts, of which the last ones were at
    uint64_t at_tsc[CONFIG_RESTARTS_MAX];
};

struct manager_vm {
    const struct config_vm *config;
    enum manager_vm_state state;
    struct spawned spawned;
    handle_t event;   // the VMM waits for it; VMM_BIT_*
    handle_t notes;   // what the VMM has told; VMM_NOTE_*
    // Its scheduling contexts: the first `here` are those of the cores where it is, or was sent
    // last; those behind them it is leaving. vCPU i, on thread i + 1 or the only one, is on
    // context[i % here].
    struct manager_context { uint32_t core; handle_t sc; } context[2 * CONFIG_MAX_VCPUS];
    uint32_t contexts, here;
    handle_t left_sc[1 + START_THREADS_MAX]; // by thread: which it is leaving; 0: none
    uint64_t left_tsc; // when it was sent; 0: that it is late has been said
    handle_t line;    // memory of its console line
    const struct ring *output; // that line's output ring
    uint32_t process; // id, as in struct vcpu_stats
    uint64_t start_tsc, end_tsc;
    bool halted;      // for good: HLT with interrupts off
    bool panicked;    // it says so, and goes on
    bool paused;      // by the monitor
    bool unreported;  // it has ended, and what it said last is not on the console yet
    struct process_status last; // how it ended
    struct manager_restart restart;
};

struct manager_monitor {
    bool prompted; // the prompt and `text` stand on the monitor's screen
    uint32_t len;
    uint32_t escape;     // bytes of an escape sequence, such as an arrow key's, so far
    bool overlong;       // more was typed than `text` takes
    char text[160];
};

#define SAMPLE_VMS_MAX    4u
#define SAMPLE_COUNT_MAX  1000u
#define SAMPLE_MS_MAX     10000u

// `sample`: what VMs have run, again and again; told when all is measured.
struct manager_sample {
    uint32_t vms, vm[SAMPLE_VMS_MAX]; // whom; 0 VMs: nothing is being sampled
    uint32_t count, taken;            // intervals that were asked for; points taken
    uint64_t start_tsc, period_tsc;
    struct {
        uint64_t tsc[SAMPLE_VMS_MAX], run[SAMPLE_VMS_MAX]; // read at one time for each VM
    } point[SAMPLE_COUNT_MAX + 1];
};

// A copy of the kernel's log, which can be read there only once.
struct manager_log {
    uint32_t len;
    char text[32768];
};

// Where the host's serial port is.
struct manager_port {
    uint16_t first;   // of its eight I/O ports; 0: there is none
    uint32_t divisor;
    handle_t irq;     // 0: it has none that is known
};

struct manager {
    const struct boot_info *boot;
    uint64_t wall_seconds, wall_tsc; // UTC since 1970 at that TSC
    handle_t event;
    struct line line;             // line 0
    handle_t line_memory;
    handle_t console_event;
    handle_t sc;                  // of manager and console, on core 0
    struct manager_port port;
    bool console_runs;
    uint64_t console_start_tsc;   // 0: it has not been yet
    uint32_t console_failures;    // in a row
    bool flushed;
    uint32_t vms;                 // entries of vm[]
    uint32_t running;
    bool stuck;                   // all of these have halted for good, and that has been said
    bool none_started;            // at boot, though one should have
    const struct manager_vm *last; // to have ended; NULL: none has
    uint64_t vm_memory;           // bytes that all VMs may have, with what they cost
    uint64_t audit_by_tsc;        // when the boot's audit is made at the latest; 0: it has been
    struct spawned console;
    struct program console_program, vmm_program;
    struct manager_monitor monitor;
    struct manager_sample sample;
    struct manager_log kernel_log;
    struct manager_vm vm[MANAGER_VMS_MAX];
    const void *image_head[BOOT_MODULE_MAX]; // mapped for config_check()
    struct config config;
};

// main.c: makes everything, then serves events until the last VM has ended. -> the status for
// system_off: 0 all VMs powered off, 1 one was killed or could not be started.
uint32_t manager_run(struct manager *manager, const struct boot_info *boot);
// Takes bits from the manager's event and acts on them. deadline as for kcall_event_wait().
void manager_serve(struct manager *manager, uint64_t deadline);

// options.c: the words on the kernel's command line. Says of each that is not known that it is not.
void options_check(struct manager *manager);
bool option_given(const struct boot_info *boot, const char *known);

// measure.c: says what a null system call costs, in ticks. With the option `trace` one more runs
// between two magic breakpoints of Bochs.
void measure_syscall(struct manager *manager);

// port.c: finds it as the config says. What there is to say of it is said.
void port_find(struct manager *manager, struct manager_port *port);

void date_read(struct manager *manager); // date.c: fills wall_seconds, wall_tsc

// report.c: line 0. Texts have '\n' for line ends.
int64_t report_init(struct manager *manager);
__attribute__((format(printf, 2, 3)))
void report(struct manager *manager, const char *format, ...);
void report_text(struct manager *manager, const char *text, uint32_t len);
// Before and after other text on line 0: clears the monitor's prompt away, and brings it back.
// report() has done both.
void report_prompt_hide(struct manager *manager);
void report_prompt_show(struct manager *manager);
// Into the kernel's log; as long as no console has the serial line, that shows it too.
void report_log(const char *text, uint32_t len);
// What is done about the CPU's faults, into the kernel's log: a line for each; how many are open.
void faults_list(const struct cpu_faults *faults);
void faults_count(const struct cpu_faults *faults);
// Returns once everything said is on the wire, or after ten seconds per line.
void report_flush(struct manager *manager);
const char *report_status(int64_t status); // of a system call, in words
// What the kernel has logged since the last call, or all of it.
void report_kernel_log(struct manager *manager, bool all);
// The kernel's log so far counts as said: the serial line had it before there was a console.
void report_kernel_log_skip(struct manager *manager);
// Whether the console is to say it again: it is asked for, or the serial line is another than the
// kernel's.
bool report_kernel_log_again(const struct manager *manager);
void report_free_memory(struct manager *manager, const char *prefix);
void report_audit(struct manager *manager);

// module.c: boot modules by role ("bin", "config", "image") and name.
// -> index, or -1. name NULL: the first of that role.
int module_find(const struct boot_info *boot, const char *role, const char *name);
// The config: the first that nobody has put aside (demo.conf~, demo.conf.old), or else the first.
// -> index, or -1; *others: how many more there are
int module_find_config(const struct boot_info *boot, uint32_t *others);
// Maps the first `bytes` of a module (0: all), once. -> address, or NULL
const void *module_map(const struct boot_info *boot, int index, uint64_t bytes);
// The name behind the role.
const char *module_name(const struct boot_info *boot, int index);
// For config_check(), with the manager as context.
enum config_find module_config_find(void *manager, const char *path,
                                    struct config_image *image);

// Loads a ring-3 program from its boot module. False: it cannot be, and that has been said.
bool program_find(struct manager *manager, struct program *program, const char *name);

// console.c: the console's process.
void console_begin(struct manager *manager);
// After MANAGER_BIT_CONSOLE: another one, but where they fail one after the other.
void console_ended(struct manager *manager);
// Ends it, if it runs, and starts another.
void console_restart(struct manager *manager);

// list.c: which VMs there are.
// NULL, or the index -1: there is none of that name, or it does not run, and that has been said.
struct manager_vm *list_find(struct manager *manager, const char *name);
int list_find_running(struct manager *manager, const char *name);
// The counters of all of a VM's vCPUs together; `halted` when all are. -> how many it has (yet, or
// still)
uint32_t list_counters(const struct manager_vm *vm, struct vcpu_stats *stats);
// What `vm list`, `stats NAME`, and `stats` of the cores say.
void list_vms(struct manager *manager);
void list_stats(struct manager *manager, const struct manager_vm *vm);
void list_cores(struct manager *manager);

// wire.c: gives a new process its handles. -> a status; *block: its start block, for now
int64_t wire_console(struct manager *manager, handle_t process, const struct start_block **block);
int64_t wire_vmm(struct manager *manager, uint32_t index, handle_t process,
                 const struct start_block **block);

// vms.c: the life of a VM.
// Makes events and lines of all VMs that can be started, and fills manager->vm. -> OK or a status
int64_t vms_prepare(struct manager *manager);
// From its image, in memory that is zero. What comes of it is said.
void vms_start(struct manager *manager, uint32_t index);
// Whether one was killed, or could not be started, and nothing has become of it since.
bool vms_failed(const struct manager *manager);
// Whether the machine is only there for VMs that nobody has started yet.
bool vms_wait(const struct manager *manager);
// True when each VM that was started has been entered, or has ended.
bool vms_made(const struct manager *manager);
void vms_stop(struct manager *manager, uint32_t index); // asks for an orderly power-off
void vms_kill(struct manager *manager, uint32_t index);
// Ends it, if it runs, and starts it.
void vms_restart(struct manager *manager, uint32_t index);
void vms_pause(struct manager *manager, uint32_t index); // its vCPUs stand still, or go on
void vms_resume(struct manager *manager, uint32_t index);
void vms_nmi(struct manager *manager, uint32_t index); // for each of its vCPUs
// Has the VM show the registers of its vCPUs, of this one all there is, on its console; and shows
// what the kernel has counted here.
void vms_dump(struct manager *manager, uint32_t index, uint32_t vcpu);
void vms_ended(struct manager *manager, uint32_t index); // or halted for good
// What a VM of the state VM_EXITED gave to its test board.
static inline uint8_t vms_exit_status(const struct manager_vm *vm)
{
    return (uint8_t)vm->last.status;
}
// Says it, once, when every VM that is left has halted for good.
void vms_look_stuck(struct manager *manager);

// ends.c
// Says of VMs that have ended how they did, each behind its own last words. -> when to look again
// (deadline as for kcall_event_wait()), 0 if nothing is left to say
uint64_t vms_report_ended(struct manager *manager);

// restart.c
// Of a VM that has just ended, not by its user's wish: whether it starts again, and when.
bool restart_plan(struct manager_vm *vm);
// Says what was planned.
void restart_say(struct manager *manager, const struct manager_vm *vm);
// Starts those whose time has come. -> when to look again (deadline as for kcall_event_wait()), 0
// if none is to start again
uint64_t restarts_run(struct manager *manager);

// move.c: which cores a VM runs on.
#define MOVE_CORES_MAX CONFIG_MAX_VCPUS
struct move_cores { uint32_t count; uint8_t core[MOVE_CORES_MAX]; }; // different ones
#define MOVE_TEXT 64
// "core 1", "cores 0 to 3". -> `text`
const char *move_cores_text(char text[MOVE_TEXT], const struct move_cores *cores, bool word);
struct move_cores move_cores_of(const struct manager_vm *vm); // where it is, or was sent
// Makes the VM's scheduling contexts where the config has placed it. -> a status
int64_t move_contexts(struct manager_vm *vm);
// Makes them for one that has none any more, where there is room now. -> a status
int64_t move_contexts_again(struct manager *manager, struct manager_vm *vm);
// The context of the VMM's thread, from move_contexts() on.
handle_t move_context_of(const struct manager_vm *vm, uint32_t thread);
// The VM has ended, and keeps what it is promised of the cores where it was, or was sent last.
void move_contexts_keep(struct manager_vm *vm);
// The VM has ended: what it was promised of its cores is others' to have.
void move_contexts_end(struct manager_vm *vm);
// Gives manager and console their share of core 0; where that cannot be, it is said.
void move_system(struct manager *manager);
// Sees to the VMs that are on their way. -> when to look again (deadline as for
// kcall_event_wait()), 0 if there is none
uint64_t moves_run(struct manager *manager);
// Sends a running VM to these cores, its vCPUs to one after the other. Says what came of it, or why
// it cannot be.
void vms_move(struct manager *manager, uint32_t index, const struct move_cores *cores);
// Places all running VMs anew (config/place.c) and sends those that belong elsewhere there. -> how
// many
uint32_t vms_balance(struct manager *manager);
// Says what is promised of each core of which something is. A VM with a list of cores has its share
// of each of them.
void moves_report_shares(struct manager *manager);

// monitor.c: the commands typed at line 0.
void monitor_input(struct manager *manager);

// sample.c: the command `sample`, with its words NAME[,NAME...] MS COUNT.
void sample_start(struct manager *manager, const char *argument);
// Takes a point when it is time, and tells all after the last. -> when to look again (deadline as
// for kcall_event_wait()), 0 if nothing is being sampled
uint64_t sample_run(struct manager *manager);
