// SPDX-License-Identifier: BSD-2-Clause
// The monitor: commands typed at console line 0 (Ctrl-] m). A line editor that knows backspace,
// Ctrl-U and Enter, and a table of commands. The manager's thread only.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "libc/kcall.h"
#include "libc/time.h"
#include "vmm/manager/manager.h"

#define MONITOR_PROMPT "bulkhead> "

_Static_assert(CONFIG_MAX_CORES * sizeof(uint64_t) == sizeof((struct system_info){0}.idle_tsc),
               "the cores that a config can name are those that the kernel uses");

void monitor_hide(struct manager *manager)
{
    if (manager->monitor.prompted) {
        report_text(manager, "\r\033[K", 4);
    }
}

void monitor_show(struct manager *manager)
{
    if (manager->monitor.prompted) {
        report_text(manager, MONITOR_PROMPT, sizeof(MONITOR_PROMPT) - 1);
        report_text(manager, manager->monitor.text, manager->monitor.len);
    }
}

static const char *state_name(const struct manager_vm *vm)
{
    static const char *const names[] = {"running", "stopping", "off", "reset", "killed",
                                        "failed"};
    return vm->halted && vm->spawned.process != 0 ? "halted" : names[vm->state];
}

static uint64_t vm_uptime_tsc(const struct manager_vm *vm)
{
    if (vm->start_tsc == 0) {
        return 0;
    }
    return (vm->end_tsc != 0 ? vm->end_tsc : tsc_read()) - vm->start_tsc;
}

static void list_vm(struct manager *manager, const struct manager_vm *vm)
{
    struct vcpu_stats stats;
    char share[8] = "-", cpu[8] = "-";
    uint64_t uptime = vm_uptime_tsc(vm);
    uint64_t ms = tsc_to_ns(uptime) / 1000000;
    if (vm->config->share != 0) {
        snprintf(share, sizeof(share), "%u%%", (unsigned)vm->config->share % 1000);
    }
    if (uptime != 0 && vms_stats(vm, &stats)) {
        uint64_t permille = stats.run_tsc / (uptime / 1000 + 1);
        snprintf(cpu, sizeof(cpu), "%u.%u", (unsigned)(permille / 10) % 1000,
                 (unsigned)(permille % 10));
    }
    report(manager, "%-15s %-8s %4d %5s %6u MB %6u.%03u s %6s\n", vm->config->name,
           state_name(vm), (int)vm->core, share,
           (unsigned)(vm->config->memory >> 20), (unsigned)(ms / 1000), (unsigned)(ms % 1000),
           cpu);
}

static struct manager_vm *find_vm(struct manager *manager, const char *name)
{
    for (uint32_t i = 0; i < manager->vms; i++) {
        if (strcmp(manager->vm[i].config->name, name) == 0) {
            return &manager->vm[i];
        }
    }
    report(manager, name[0] != '\0' ? "no VM is called '%s': see vm list\n"
                                    : "the name of a VM is missing%s: see vm list\n", name);
    return NULL;
}

int monitor_find_running(struct manager *manager, const char *name)
{
    struct manager_vm *vm = find_vm(manager, name);
    if (vm == NULL) {
        return -1;
    }
    if (vm->spawned.process == 0) {
        report(manager, "VM '%s' does not run\n", name);
        return -1;
    }
    return (int)(vm - manager->vm);
}

static void command_vm_list(struct manager *manager, const char *argument)
{
    (void)argument;
    report(manager, "%-15s %-8s %4s %5s %9s %12s %6s\n", "name", "state", "core", "share",
           "memory", "uptime", "cpu %");
    for (uint32_t i = 0; i < manager->vms; i++) {
        list_vm(manager, &manager->vm[i]);
    }
}

static void command_vm_stop(struct manager *manager, const char *argument)
{
    int index = monitor_find_running(manager, argument);
    if (index >= 0) {
        vms_stop(manager, (uint32_t)index);
    }
}

static void command_vm_kill(struct manager *manager, const char *argument)
{
    int index = monitor_find_running(manager, argument);
    if (index >= 0) {
        vms_kill(manager, (uint32_t)index);
    }
}

static void command_vm_move(struct manager *manager, const char *argument)
{
    char name[CONFIG_NAME_MAX + 1];
    const char *number = strchr(argument, ' ');
    char *end = NULL;
    // Without a sign, which strtoul() would take.
    bool digit = number != NULL && number[1] >= '0' && number[1] <= '9';
    unsigned long core = digit ? strtoul(number, &end, 10) : 0;
    if (!digit || *end != '\0' || core >= CONFIG_MAX_CORES) {
        report(manager, "usage: vm move NAME CORE\n");
        return;
    }
    snprintf(name, sizeof(name), "%.*s", (int)(number - argument), argument);
    int index = monitor_find_running(manager, name);
    if (index >= 0) {
        vms_move(manager, (uint32_t)index, (uint32_t)core);
    }
}

static void command_vm_balance(struct manager *manager, const char *argument)
{
    (void)argument;
    if (vms_balance(manager) == 0) {
        report(manager, "every VM is where it belongs\n");
    }
}

static unsigned tsc_ms(uint64_t tsc)
{
    return (unsigned)(tsc_to_ns(tsc) / 1000000);
}

void monitor_stats(struct manager *manager, const struct manager_vm *vm)
{
    static const char *const names[] = {
#define X(name, text) text,
        EXIT_CLASSES(X)
#undef X
    };
    struct vcpu_stats stats;
    struct process_status process;
    if (!vms_stats(vm, &stats)) {
        report(manager, "%s: no vCPU (%s)\n", vm->config->name, state_name(vm));
        return;
    }
    uint64_t total = 0;
    for (uint32_t i = 0; i < EXIT_CLASS_COUNT; i++) {
        total += stats.exits[i];
    }
    report(manager, "%s: core %u, ran %u ms, halted %u ms, %llu exits, %llu injected\n",
           vm->config->name, (unsigned)stats.core, tsc_ms(stats.run_tsc), tsc_ms(stats.halt_tsc),
           (unsigned long long)total, (unsigned long long)stats.injected);
    if (kcall_process_status(vm->spawned.process, &process) == OK) {
        report(manager, "  its VMM has used %u KB of %u KB, its memory among them\n",
               (unsigned)(process.used >> 10), (unsigned)(process.quota >> 10));
    }
    if (stats.halted != 0) {
        report(manager, "  it is in HLT with interrupts off%s\n",
               vm->halted ? ", for good" : ": only an NMI ends that");
    }
    for (uint32_t i = 0; i < EXIT_CLASS_COUNT; i++) {
        if (stats.exits[i] != 0) {
            report(manager, "  %-18s %12llu\n", names[i], (unsigned long long)stats.exits[i]);
        }
    }
}

static void report_cores(struct manager *manager)
{
    struct system_info info;
    if (kcall_system_info(BOOT_HANDLE_SYSTEM, &info) != OK) {
        return;
    }
    for (uint32_t i = 0; i < info.cores; i++) {
        report(manager, "core %u: idle for %u ms, without interrupts for %llu ticks at most\n",
               (unsigned)i, tsc_ms(info.idle_tsc[i]), (unsigned long long)info.irqs_off[i]);
    }
}

static void command_stats(struct manager *manager, const char *argument)
{
    if (argument[0] != '\0') {
        const struct manager_vm *vm = find_vm(manager, argument);
        if (vm != NULL) {
            monitor_stats(manager, vm);
        }
        return;
    }
    for (uint32_t i = 0; i < manager->vms; i++) {
        monitor_stats(manager, &manager->vm[i]);
    }
    report_cores(manager);
}

static void command_audit(struct manager *manager, const char *argument)
{
    (void)argument;
    report_audit(manager);
}

static void command_log(struct manager *manager, const char *argument)
{
    (void)argument;
    report_kernel_log(manager, true);
}

static void command_memory(struct manager *manager, const char *argument)
{
    struct system_info info;
    struct process_status self;
    (void)argument;
    report_free_memory(manager, "");
    if (kcall_system_info(BOOT_HANDLE_SYSTEM, &info) == OK) {
        report(manager, "%llu KB of %llu KB free, %llu kernel objects, %u cores\n",
               (unsigned long long)(info.frames_free * PAGE_SIZE >> 10),
               (unsigned long long)(info.frames_total * PAGE_SIZE >> 10),
               (unsigned long long)info.objects, (unsigned)info.cores);
        report(manager, "for VMs %llu KB (check --memory %llu --cores %u), of which the config "
               "gives them %llu KB\n", (unsigned long long)manager->vm_memory >> 10,
               (unsigned long long)(manager->boot->ram + (1 << 20) - 1) >> 20,
               (unsigned)manager->boot->cores,
               (unsigned long long)manager->config.memory_taken >> 10);
        report(manager, "zeroing memory has taken %llu ticks\n",
               (unsigned long long)info.zeroing_tsc);
    }
    report_cores(manager);
    if (kcall_process_status(HANDLE_SELF, &self) == OK) {
        report(manager, "manager: %u KB used, quota %u KB\n", (unsigned)(self.used >> 10),
               (unsigned)(self.quota >> 10));
    }
    if (kcall_process_status(manager->console.process, &self) == OK) {
        report(manager, "console: %u KB used, quota %u KB\n", (unsigned)(self.used >> 10),
               (unsigned)(self.quota >> 10));
    }
}

static void command_power_off(struct manager *manager, const char *argument)
{
    (void)argument;
    report(manager, "the machine is powered off by the monitor\n");
    report_flush(manager);
    kcall_system_off(BOOT_HANDLE_SYSTEM, manager->failed > 0);
}

static void command_reset(struct manager *manager, const char *argument)
{
    (void)argument;
    report(manager, "the machine is reset by the monitor\n");
    report_flush(manager);
    kcall_system_off(BOOT_HANDLE_SYSTEM, SYSTEM_RESET);
}

static void command_help(struct manager *manager, const char *argument);

static const struct {
    const char *name, *parameter, *help;
    void (*run)(struct manager *manager, const char *argument);
} commands[] = {
    {"help", "", "this list", command_help},
    {"vm list", "", "all VMs: state, core, share, memory, uptime, CPU", command_vm_list},
    {"vm stop", " NAME", "asks the VM to power itself off (ACPI power button)", command_vm_stop},
    {"vm kill", " NAME", "ends the VM at once and frees its memory", command_vm_kill},
    {"vm move", " NAME CORE", "takes the VM to that core; it runs on", command_vm_move},
    {"vm balance", "", "places the VMs anew over the cores", command_vm_balance},
    {"stats", " [NAME]", "exits by kind, injections, time run and halted; cores", command_stats},
    {"sample", " NAME MS COUNT", "what it runs in each MS ms, COUNT times over", sample_start},
    {"audit", "", "checks that no frame is reachable from two VMs", command_audit},
    {"memory", "", "free memory, kernel objects, idle time", command_memory},
    {"log", "", "the kernel's log", command_log},
    {"power-off", "", "powers the machine off at once", command_power_off},
    {"reset", "", "resets the machine at once", command_reset},
};
#define COMMANDS (sizeof(commands) / sizeof(commands[0]))

static void command_help(struct manager *manager, const char *argument)
{
    (void)argument;
    for (size_t i = 0; i < COMMANDS; i++) {
        char left[24];
        snprintf(left, sizeof(left), "%s%s", commands[i].name, commands[i].parameter);
        report(manager, "%-21s %s\n", left, commands[i].help);
    }
    report(manager, "%-21s %s\n", "Ctrl-] a", "back to all VMs; Ctrl-] ? explains the keys");
}

// Words separated by single spaces, none at the ends.
static void squeeze(char *text)
{
    char *out = text;
    for (const char *in = text; *in != '\0'; in++) {
        if (*in != ' ' || (out != text && out[-1] != ' ')) {
            *out++ = *in;
        }
    }
    out -= out != text && out[-1] == ' ';
    *out = '\0';
}

static unsigned count_words(const char *text)
{
    unsigned words = 0;
    for (; *text != '\0'; text++) {
        words += *text != ' ' && (text[1] == ' ' || text[1] == '\0');
    }
    return words;
}

// What stands behind the first `words` words.
static const char *skip_words(const char *text, unsigned words)
{
    while (words-- > 0) {
        text = strchr(text, ' ') + 1;
    }
    return text;
}

// A command with more words than it has parameters is a mistake, and does nothing.
static void run_command(struct manager *manager, size_t index, const char *argument)
{
    const char *name = commands[index].name, *parameter = commands[index].parameter;
    unsigned most = count_words(parameter), given = count_words(argument);
    if (given <= most) {
        commands[index].run(manager, argument);
    } else if (most == 0) {
        report(manager, "'%s' takes no argument\n", name);
    } else if (given - most == 1) {
        report(manager, "'%s' is one word too many: %s%s\n", skip_words(argument, most), name,
               parameter);
    } else {
        report(manager, "'%s' is %u words too many: %s%s\n", skip_words(argument, most),
               given - most, name, parameter);
    }
}

static void monitor_command(struct manager *manager, char *text)
{
    squeeze(text);
    if (text[0] == '\0') {
        return;
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        size_t len = strlen(commands[i].name);
        if (strncmp(text, commands[i].name, len) == 0 && (text[len] == '\0' || text[len] == ' ')) {
            run_command(manager, i, text[len] == ' ' ? text + len + 1 : "");
            return;
        }
    }
    report(manager, "unknown command '%s': help lists them\n", text);
}

// Whether the key belongs to an escape sequence: ESC, [ or O, numbers, and what ends it.
static bool monitor_escape(struct manager_monitor *monitor, char key)
{
    if (key == 0x1b) {
        monitor->escape = 1;
        return true;
    }
    if (monitor->escape == 1 && (key == '[' || key == 'O')) {
        monitor->escape = 2;
        return true;
    }
    if (monitor->escape == 2 && key >= ' ' && key < 0x7f) {
        monitor->escape = key < '@' ? 2 : 0;
        return true;
    }
    monitor->escape = 0;
    return false;
}

static void monitor_enter(struct manager *manager)
{
    struct manager_monitor *monitor = &manager->monitor;
    bool overlong = monitor->overlong;
    report_text(manager, "\n", 1);
    monitor->text[monitor->len] = '\0';
    monitor->len = 0;
    monitor->overlong = false;
    monitor->prompted = false;
    if (overlong) {
        report(manager, "a command of more than %u characters is not taken\n",
               (unsigned)sizeof(monitor->text) - 1);
    } else {
        monitor_command(manager, monitor->text);
    }
    monitor->prompted = true;
    monitor_show(manager);
}

static void monitor_key(struct manager *manager, char key)
{
    struct manager_monitor *monitor = &manager->monitor;
    if (monitor_escape(monitor, key)) {
        return;
    }
    if (!monitor->prompted || key == CONSOLE_REDRAW) {
        monitor_hide(manager);
        monitor->prompted = true;
        monitor_show(manager);
    }
    if (key == '\r' || key == '\n') {
        monitor_enter(manager);
    } else if (key == '\b' || key == 0x7f) {
        if (monitor->len > 0) {
            monitor->len--;
            report_text(manager, "\b \b", 3);
        }
    } else if (key == 'U' - '@' || key == 'C' - '@') {
        monitor_hide(manager);
        monitor->len = 0;
        monitor->overlong = false;
        monitor_show(manager);
    } else if (key >= ' ' && key < 0x7f && monitor->len == sizeof(monitor->text) - 1) {
        monitor->overlong = true;
        report_text(manager, "\a", 1);
    } else if (key >= ' ' && key < 0x7f) {
        monitor->text[monitor->len++] = key;
        report_text(manager, &key, 1);
    }
}

void monitor_input(struct manager *manager)
{
    char keys[64];
    uint32_t got;
    do {
        got = line_read(&manager->line, keys, sizeof(keys));
        for (uint32_t i = 0; i < got; i++) {
            monitor_key(manager, keys[i]);
        }
    } while (got == sizeof(keys));
}
