import java.lang.reflect.InvocationTargetException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Scanner;
import java.util.concurrent.CompletableFuture;
import org.apache.kafka.common.utils.Exit;

/**
 * Runs Kafka's command-line programs one after the other in one JVM. Every line of the input is a program's class and its
 * arguments, with tabs between; what it prints is followed by a line of {@code \u0001} and its exit code.
 */
public final class Tools {
    private static CompletableFuture<Integer> exit;

    public static void main(String[] args) throws Exception {
        System.setErr(System.out);
        // A program that exits must not come back: what stands behind the call would be printed too.
        Exit.setExitProcedure((code, message) -> leave(code));
        Exit.setHaltProcedure((code, message) -> leave(code));
        Scanner lines = new Scanner(System.in, StandardCharsets.UTF_8);
        while (lines.hasNextLine()) {
            String[] words = lines.nextLine().split("\t", -1);
            exit = new CompletableFuture<>();
            CompletableFuture<Integer> ended = exit;
            Thread thread = new Thread(() -> run(words[0], Arrays.copyOfRange(words, 1, words.length), ended));
            thread.setDaemon(true);
            thread.start();
            int code = ended.get();
            System.out.println();
            System.out.println("\u0001" + code);
            System.out.flush();
        }
        Runtime.getRuntime().halt(0);
    }

    private static void run(String program, String[] args, CompletableFuture<Integer> ended) {
        try {
            Class.forName(program).getMethod("main", String[].class).invoke(null, (Object) args);
            ended.complete(0);
        } catch (InvocationTargetException e) {
            // As the launcher does with what no program caught.
            System.out.print("Exception in thread \"main\" ");
            e.getCause().printStackTrace(System.out);
            ended.complete(1);
        } catch (ReflectiveOperationException e) {
            e.printStackTrace(System.out);
            ended.complete(127);
        }
    }

    private static void leave(int code) {
        exit.complete(code);
        new CompletableFuture<Void>().join();
    }
}
